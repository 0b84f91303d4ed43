"""The page of lesson 8, used in a real browser, on a phone's and on a wide screen."""

import json
import os
import re
import shutil
import sys
import time

import cv2
import numpy as np
import pytest
from collection import PICTURES
from pictures import jpeg, png, qr, with_orientation
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support import expected_conditions
from selenium.webdriver.support.ui import Select, WebDriverWait
from uploads import NO_FORMAT

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
NO_BROWSER = "no browser: sudo apt-get install chromium chromium-driver"
WIDTHS = pytest.mark.parametrize("width", [390, 1200])
NO_ANSWER = "서버가 응답하지 않습니다 · The server does not answer"


def start_browser(folder, javascript=True):
    if not (BROWSER and DRIVER):
        # In CI on Linux they must be there.
        assert os.environ.get("CI") != "true" or sys.platform != "linux", NO_BROWSER
        pytest.skip(NO_BROWSER)
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for name in ("headless", "no-sandbox", "disable-dev-shm-usage"):
        options.add_argument(f"--{name}")
    options.add_argument(f"--user-data-dir={folder}")
    if not javascript:
        setting = "profile.managed_default_content_settings.javascript"
        options.add_experimental_option("prefs", {setting: 2})
    service = webdriver.ChromeService(executable_path=DRIVER)
    return webdriver.Chrome(options=options, service=service)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with start_browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture
def browser(chromium, server):
    set_width(chromium, 1200)
    # Read away what earlier tests left there.
    chromium.get_log("browser")
    chromium.get(server.url)
    return chromium


@pytest.fixture(scope="module")
def plain_browser(tmp_path_factory, server):
    """A browser without JavaScript."""
    profile = tmp_path_factory.mktemp("plain_browser")
    with start_browser(profile, javascript=False) as browser:
        yield browser


def set_width(browser, width):
    screen = {"width": width, "height": 800, "deviceScaleFactor": 1}
    # A phone obeys <meta name="viewport">, a computer does not.
    screen["mobile"] = width < 600
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)


def choose_model(browser, model_type):
    models = Select(browser.find_element(By.ID, "model"))
    models.select_by_visible_text(model_type)


def choose(browser, *pictures):
    paths = "\n".join(str(picture) for picture in pictures)
    browser.find_element(By.ID, "pictures").send_keys(paths)


def search(browser, *pictures, model_type="strawberry"):
    """Choose a model and pictures; return what the page says about each picture."""
    choose_model(browser, model_type)
    choose(browser, *pictures)
    return wait_for_messages(browser, len(pictures))


def wait_for_messages(browser, number):
    def read_messages(browser):
        messages = texts(browser, "#results > p")
        answered = [text for text in messages if "Looking" not in text]
        return answered if len(answered) == number else None

    return WebDriverWait(browser, 30).until(read_messages)


def texts(browser, selector):
    script = """return Array.from(document.querySelectorAll(arguments[0]),
                                  (element) => element.textContent)"""
    return browser.execute_script(script, selector)


def assert_boxes_are_right(browser):
    """The boxes on the screen lie where the API says, in pixels of the picture."""
    script = """
    const image = document.querySelector("figure img");
    const picture = image.getBoundingClientRect();
    const scale = image.naturalWidth / picture.width;
    return Array.from(document.querySelectorAll(".box"), (element) => {
      const box = element.getBoundingClientRect();
      const left = box.left - picture.left;
      const top = box.top - picture.top;
      return [left, top, box.width, box.height].map((side) => side * scale);
    });
    """
    answer = json.loads(texts(browser, "details pre")[0])
    boxes = [found["box"] for found in answer["results"][0]["detections"]]
    assert len(boxes) > 0
    # The browser rounds to a fraction of a pixel on the screen.
    tolerance = answer["results"][0]["width"] / 300
    assert np.allclose(browser.execute_script(script), boxes, atol=tolerance)


def page_width(browser):
    return browser.execute_script("return document.documentElement.scrollWidth")


# --- In a browser.


@WIDTHS
def test_the_sample(browser, width):
    set_width(browser, width)
    assert page_width(browser) <= width
    browser.find_element(By.ID, "sample").click()
    assert wait_for_messages(browser, 1) == ["3개를 찾았습니다 · 3 found"]
    assert page_width(browser) <= width
    scores = [text.removeprefix("strawberry ") for text in texts(browser, "li")]
    assert all(re.fullmatch(r"0\.\d\d", score) for score in scores)
    # The list has the numbers of the boxes, and a screen reader reads only the list.
    assert texts(browser, "ol > li") == texts(browser, "li")
    assert browser.find_elements(By.CSS_SELECTOR, 'figure[aria-hidden="true"] .box')
    labels = [f"{number}: {score}" for number, score in enumerate(scores, 1)]
    assert texts(browser, ".box span") == labels
    assert_boxes_are_right(browser)
    assert browser.get_log("browser") == []


@WIDTHS
def test_a_large_photograph_that_lies_on_its_side(browser, tmp_path, width):
    upright = cv2.imread(str(PICTURES / "strawberries.jpg"))
    large = cv2.resize(upright, (4000, 3000))
    lying = cv2.rotate(large, cv2.ROTATE_90_COUNTERCLOCKWISE)
    photograph = tmp_path / "photograph.jpg"
    photograph.write_bytes(with_orientation(jpeg(lying), 6))
    set_width(browser, width)
    assert search(browser, photograph) == ["3개를 찾았습니다 · 3 found"]
    assert page_width(browser) <= width
    assert_boxes_are_right(browser)


@WIDTHS
def test_a_small_box_has_its_number_without_the_score(browser, tmp_path, width):
    white = np.full((480, 640), 255, np.uint8)
    # About 100 x 100 pixels of 640 x 480, at two edges.
    code = qr("x", scale=4)
    white[: len(code), : len(code)] = code
    white[-len(code) :, -len(code) :] = code
    picture = tmp_path / "small.png"
    picture.write_bytes(png(white))
    set_width(browser, width)
    assert search(browser, picture, model_type="qrcode") == [
        "2개를 찾았습니다 · 2 found"
    ]
    assert texts(browser, ".box span") == ["1", "2"]
    assert page_width(browser) <= width
    assert_boxes_are_right(browser)


@WIDTHS
def test_a_label_is_one_line(browser, tmp_path, width):
    """Also where it is wider than its box."""
    picture = tmp_path / "narrow.png"
    picture.write_bytes(png(qr("x", scale=4)))
    set_width(browser, width)
    search(browser, picture, model_type="qrcode")
    script = """
    const label = document.querySelector(".box span");
    document.querySelector(".box").style.width = "10px";
    return label.offsetHeight;
    """
    assert 10 < browser.execute_script(script) < 25


@WIDTHS
def test_a_long_word_does_not_widen_the_page(browser, tmp_path, width):
    picture = tmp_path / "long.png"
    picture.write_bytes(png(qr("A" * 200)))
    set_width(browser, width)
    search(browser, picture, model_type="qrcode")
    assert texts(browser, "li")[0].startswith("A" * 200)
    assert page_width(browser) <= width
    browser.find_element(By.TAG_NAME, "summary").click()
    assert page_width(browser) <= width


def test_a_label_stands_above_its_box(browser):
    """It covers the upper line, 3 pixels, and nothing of what was found."""
    search(browser, PICTURES / "strawberries.jpg")
    script = """
    return Array.from(document.querySelectorAll(".box"), (element) => {
      const box = element.getBoundingClientRect();
      const label = element.firstChild.getBoundingClientRect();
      return [label.left - box.left, label.bottom - box.top];
    });
    """
    places = browser.execute_script(script)
    assert len(places) == 3
    assert np.allclose(places, [0, 3], atol=0.1)


@WIDTHS
def test_a_tall_picture_fits_on_the_screen(browser, tmp_path, width):
    white = np.full((1600, 400), 255, np.uint8)
    code = qr("x", scale=12)
    white[-len(code) :, : len(code)] = code
    picture = tmp_path / "tall.png"
    picture.write_bytes(png(white))
    set_width(browser, width)
    search(browser, picture, model_type="qrcode")
    # 80 % of the 800 pixels of set_width().
    assert browser.find_element(By.CSS_SELECTOR, "figure img").size["height"] == 640
    assert_boxes_are_right(browser)


def test_several_pictures(browser):
    names = ["qrcode.png", "strawberries.jpg", "draw.py"]
    pictures = [PICTURES / name for name in names]
    messages = search(browser, *pictures, model_type="qrcode")
    assert texts(browser, "h2") == names
    assert messages[0] == "2개를 찾았습니다 · 2 found"
    assert messages[1] == "아무것도 찾지 못했습니다 · Nothing found"
    assert messages[2].startswith("img_file: 'draw.py' is not")
    assert sorted(texts(browser, "li")) == ["Hello Flask 1.00", "안녕하세요 1.00"]


def test_another_model_for_the_same_picture(browser):
    search(browser, PICTURES / "qrcode.png", model_type="qrcode")
    choose_model(browser, "strawberry")
    browser.find_element(By.ID, "find").click()
    message = "아무것도 찾지 못했습니다 · Nothing found"
    assert wait_for_messages(browser, 1) == [message]
    assert texts(browser, ".box") == []


def test_a_file_that_is_too_large(browser, tmp_path):
    large = tmp_path / "large.jpg"
    large.write_bytes(bytes(17_000_000))
    (message,) = search(browser, large)
    assert message.startswith("request: over 16 MB")
    assert json.loads(texts(browser, "details pre")[0]) == {"error": message}


def test_the_server_is_gone(browser):
    """The server runs on, but the browser is offline: to the page that is the same."""
    set_offline(browser, True)
    try:
        assert search(browser, PICTURES / "qrcode.png") == [NO_ANSWER]
        browser.find_element(By.ID, "sample").click()
        # Nothing else is left there, not even the name of the first picture.
        wait = WebDriverWait(browser, 10)
        wait.until(lambda browser: texts(browser, "#results") == [NO_ANSWER])
    finally:
        set_offline(browser, False)


def set_offline(browser, offline):
    unlimited = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    network = unlimited | {"offline": offline}
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", network)


ANSWER_OF_ANOTHER_SERVER = """
const [path, body, status, statusText] = arguments;
const lesson = window.fetch;
window.fetch = async (url, options) =>
  url === path ? new Response(body, { status, statusText }) : lesson(url, options);
"""


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ("<h1>Service Unavailable</h1>", 503, "Service Unavailable"),
        ('{"message": "slow down"}', 429, "Too Many Requests"),
    ],
)
def test_the_error_of_a_server_in_front(browser, body, status, text):
    """Such as nginx: the page shows the status. The next search is not disturbed."""
    answer = ("/inference", body, status, text)
    browser.execute_script(ANSWER_OF_ANOTHER_SERVER, *answer)
    picture = PICTURES / "qrcode.png"
    assert search(browser, picture, picture) == [f"{status} {text}"] * 2


def test_there_is_no_sample(browser):
    """The lesson was copied without its folder scripts."""
    answer = ("/sample.jpg", "<h1>Not Found</h1>", 404, "Not Found")
    browser.execute_script(ANSWER_OF_ANOTHER_SERVER, *answer)
    browser.find_element(By.ID, "sample").click()
    wait = WebDriverWait(browser, 10)
    wait.until(lambda browser: texts(browser, "#results") == [NO_ANSWER])


@pytest.mark.parametrize("ends_well", [True, False])
def test_a_picture_is_chosen_while_the_sample_is_loading(browser, ends_well):
    """The picture stays, whether the sample comes or not."""
    script = """
    const lesson = window.fetch;
    window.fetch = async (url, options) => {
      const answer = lesson(url, options);
      if (url === "/sample.jpg") {
        await new Promise((resolve) => { window.letSampleCome = resolve; });
        if (!arguments[0]) throw new Error("no network");
      }
      return answer;
    };
    """
    browser.execute_script(script, ends_well)
    browser.find_element(By.ID, "sample").click()
    picture = PICTURES / "qrcode.png"
    expected = ["2개를 찾았습니다 · 2 found"]
    assert search(browser, picture, model_type="qrcode") == expected
    browser.execute_script("window.letSampleCome()")
    # Time for a search, if there were one.
    time.sleep(1)
    assert texts(browser, "h2") == ["qrcode.png"]
    assert wait_for_messages(browser, 1) == expected


@pytest.mark.parametrize("sample_comes", ["before", "after"])
def test_a_new_search_ends_an_earlier_one(browser, sample_comes):
    """Of the earlier pictures the rest is not looked at, and nothing is shown. The
    sample may come before or after the answer to the first picture."""
    script = """
    const lesson = window.fetch;
    window.asked = [];
    window.fetch = async (url, options) => {
      if (url === "/inference") {
        window.asked.push(options.body.get("img_file").name);
        if (window.asked.length === 1) {
          await new Promise((resolve) => { window.letFirstGo = resolve; });
        }
      }
      if (url === "/sample.jpg" && arguments[0]) {
        await new Promise((resolve) => { window.letSampleCome = resolve; });
      }
      return lesson(url, options);
    };
    """
    browser.execute_script(script, sample_comes == "after")
    choose(browser, PICTURES / "qrcode.png", PICTURES / "draw.py")
    wait = WebDriverWait(browser, 10)
    wait.until(lambda browser: browser.execute_script("return window.asked.length"))
    browser.find_element(By.ID, "sample").click()
    expected = ["3개를 찾았습니다 · 3 found"]
    if sample_comes == "after":
        browser.execute_script("window.letFirstGo()")
        # Time for the rest of the first search, if it went on.
        time.sleep(1)
        browser.execute_script("window.letSampleCome()")
    wait.until(lambda browser: texts(browser, "#results > p") == expected)
    if sample_comes == "before":
        browser.execute_script("window.letFirstGo()")
        time.sleep(1)
    assert browser.execute_script("return window.asked") == [
        "qrcode.png",
        "strawberries.jpg",
    ]
    assert texts(browser, "h2") == ["strawberries.jpg"]


HTML = "<img src=x onerror=document.title='run'>"


def test_html_of_a_client_stays_text(browser, tmp_path):
    picture = tmp_path / f"{HTML}.png"
    picture.write_bytes(png(qr(HTML)))
    # The error message quotes the name of the file.
    broken = tmp_path / f"{HTML}.jpg"
    broken.write_bytes(b"no picture")
    found, refused = search(browser, picture, broken, model_type="qrcode")
    assert found == "1개를 찾았습니다 · 1 found"
    assert refused == f"img_file: {broken.name!r} {NO_FORMAT}"
    assert texts(browser, "h2") == [picture.name, broken.name]
    assert texts(browser, "li") == [f"{HTML} 1.00"]
    assert browser.find_elements(By.CSS_SELECTOR, "img[src=x]") == []


def test_the_memory_of_previews_is_released(browser):
    """A preview's address is gone once it is loaded, or proves to be no picture."""
    search(browser, PICTURES / "strawberries.jpg", PICTURES / "draw.py")
    script = """
    const done = arguments[0];
    const addresses = Array.from(document.images, (image) => image.src);
    addresses.push(URL.createObjectURL(new Blob(["not released"])));
    const ask = (address) => fetch(address).then(() => "there", () => "gone");
    Promise.all(addresses.map(ask)).then(done);
    """
    assert browser.execute_async_script(script) == ["gone", "gone", "there"]


def test_the_keyboard_is_enough(browser):
    def press(key):
        webdriver.ActionChains(browser).send_keys(key).perform()

    ids = []
    for _ in range(4):
        press(Keys.TAB)
        focused = browser.switch_to.active_element
        ids.append(focused.get_attribute("id"))
        assert focused.value_of_css_property("outline-width") == "3px"
    assert ids == ["pictures", "model", "find", "sample"]
    press(Keys.ENTER)
    wait_for_messages(browser, 1)
    press(Keys.TAB)
    press(Keys.ENTER)
    assert browser.find_element(By.TAG_NAME, "pre").is_displayed()


def test_the_browser_asks_for_a_picture(browser):
    assert browser.switch_to.active_element.tag_name == "body"
    browser.find_element(By.ID, "find").click()
    # The browser goes to the field that is not filled in, and sends nothing.
    missing = browser.switch_to.active_element
    assert missing.get_attribute("name") == "img_file"
    assert missing.get_property("validationMessage")
    assert texts(browser, "figure") == []


@pytest.mark.parametrize(
    "button", ["찾기 · Find", "사진에 상자 그리기 · Picture with boxes"]
)
def test_without_javascript(plain_browser, server, button):
    plain_browser.get(server.url)
    assert not plain_browser.find_element(By.ID, "sample").is_displayed()
    choose(plain_browser, PICTURES / "strawberries.jpg")
    plain_browser.find_element(By.XPATH, f"//button[text()='{button}']").click()
    is_answered = expected_conditions.url_contains("/inference")
    WebDriverWait(plain_browser, 30).until(is_answered)
    if "Picture" in button:
        image = plain_browser.find_element(By.TAG_NAME, "img")
        assert image.get_property("naturalWidth") == 640
    else:
        answer = json.loads(plain_browser.find_element(By.TAG_NAME, "body").text)
        assert len(answer["results"][0]["detections"]) == 3


# --- Without a browser.


def test_labels_and_limits(module):
    html = module.app.test_client().get("/").text
    assert '<html lang="ko">' in html
    assert 'name="viewport"' in html
    labelled = re.findall(r'<label for="(\w+)"', html)
    assert labelled == re.findall(r'<(?:input|select)[^>]* id="(\w+)"', html)
    assert "JPEG, PNG, WebP · 16 MB" in html
    # The dialogue offers these files only, and a screen reader says what was found.
    assert 'accept="image/jpeg,image/png,image/webp"' in html
    assert 'id="results" aria-live="polite"' in html
    assert 'aria-describedby="limits"' in html
    assert "<title>" in html
    assert "2500만 픽셀까지 (25 megapixels)" in html


def test_the_page_offers_every_model_and_escapes_its_name(module, monkeypatch):
    monkeypatch.setitem(module.MODELS, "<b>&", None)
    html = module.app.test_client().get("/").text
    options = re.findall("<option>(.*?)</option>", html)
    assert options == ["strawberry", "qrcode", "&lt;b&gt;&amp;"]
