"""The page of lesson 8, used in a real browser."""

import json
import os
import shutil

import pytest
from collection import PICTURES, lesson
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
MISSING = not (BROWSER and DRIVER)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if MISSING and "CI" not in os.environ:
        pytest.skip("needs chromium and chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--window-size=800,600",
        f"--user-data-dir={tmp_path_factory.mktemp('browser')}",
    ):
        options.add_argument(argument)
    service = webdriver.ChromeService(executable_path=DRIVER)
    with webdriver.Chrome(options=options, service=service) as browser:
        yield browser


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with lesson("08_inference", tmp_path_factory.mktemp("page")) as server:
        yield server


def fill_in(browser, server, pictures, model_type, button):
    """Choose pictures and model, press the button, wait for the answer."""
    browser.get(server.url)
    upload = browser.find_element(By.NAME, "img_file")
    upload.send_keys("\n".join(str(PICTURES / picture) for picture in pictures))
    Select(browser.find_element(By.NAME, "model_type")).select_by_visible_text(
        model_type
    )
    browser.find_element(By.XPATH, f"//button[text()='{button}']").click()
    WebDriverWait(browser, 30).until(lambda b: "/inference" in b.current_url)


def answer(browser):
    return json.loads(browser.find_element(By.TAG_NAME, "body").text)


def test_the_page_offers_every_model(browser, server):
    browser.get(server.url)
    options = Select(browser.find_element(By.NAME, "model_type")).options
    assert [option.text for option in options] == ["strawberry", "qrcode"]
    assert browser.find_element(By.TAG_NAME, "h1").text == "What is in the picture?"
    complaints = [entry["message"] for entry in browser.get_log("browser")]
    assert [line for line in complaints if "favicon.ico" not in line] == []


def test_two_pictures_answered_as_json(browser, server):
    fill_in(browser, server, ["qrcode.png", "strawberries.jpg"], "qrcode", "JSON")
    body = answer(browser)
    assert body["model_type"] == "qrcode"
    labels = [[found["label"] for found in r["detections"]] for r in body["results"]]
    assert [sorted(row) for row in labels] == [["Hello Flask", "안녕하세요"], []]


def test_a_picture_answered_as_a_picture(browser, server):
    fill_in(browser, server, ["strawberries.jpg"], "strawberry", "Picture")
    image = browser.find_element(By.TAG_NAME, "img")
    size = [image.get_property(side) for side in ("naturalWidth", "naturalHeight")]
    assert size == [640, 480]
    assert browser.execute_script("return document.contentType") == "image/jpeg"


def test_the_browser_asks_for_a_file(browser, server):
    """Without a picture the form is not sent at all."""
    browser.get(server.url)
    browser.find_element(By.TAG_NAME, "button").click()
    missing = browser.find_elements(By.CSS_SELECTOR, "input:invalid")
    assert [element.get_attribute("name") for element in missing] == ["img_file"]
    assert "/inference" not in browser.current_url


def test_an_error_is_readable(browser, server):
    fill_in(browser, server, ["draw.py"], "strawberry", "JSON")
    assert answer(browser) == {
        "error": "img_file: 'draw.py' is no JPEG or PNG up to 25 Mpx"
    }
