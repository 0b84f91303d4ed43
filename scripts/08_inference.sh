#!/bin/sh
# Lesson 8's calls. In another terminal first:  python 08_inference.py
# With your own photo:  sh scripts/08_inference.sh http://127.0.0.1:4958 my.jpg
# (then file names, sizes and detections differ from those after #=>)
# A line with #=> is the answer to expect. There "..." stands for text that can differ; a
# line with only "..." stands for any number of lines.
URL=${1:-http://127.0.0.1:4958}
PICTURES=$(dirname "$0")/pictures

# You can skip the lines up to "set -v": they prepare your photo's name and HTTPie, and
# look for lesson 8. After "set -v" the shell prints each line before it runs it.
# curl's -F needs quotes around some file names, such as one with a comma: they are
# added to your photo's name here.
PHOTO=$(printf '%s' "${2:-$PICTURES/strawberries.jpg}" | sed '/[,;"\\]/{s/["\\]/\\&/g;s/.*/"&"/;}')
# In a script HTTPie may look for input from another program (standard input): it then
# waits for this input, or sends it as the body. --ignore-stdin forbids that.
http() { command http --ignore-stdin --pretty=none "$@"; }
# Ask the lesson itself, even if a proxy is set on this computer.
export no_proxy="*" NO_PROXY="*"
# A browser's address bar adds "/" at the end: leave it out.
URL=${URL%/}
# Only lesson 8 has the path /inference.
case $(curl -s -m 9 -o /dev/null -w '%{http_code}' -X OPTIONS "$URL/inference") in
    200) ;;
    000 | "") echo "Nothing answers at $URL. In another terminal start: python 08_inference.py" >&2; exit 1 ;;
    *) echo "Another server answers at $URL. Stop it, then start: python 08_inference.py" >&2; exit 1 ;;
esac
set -v

# The part of a URL after "?" arrives in args.
curl -s -X POST "$URL/exam?a=b"
#=> {"args":{"a":"b"},"form":{},"files":{}}

# With -d or -F curl sends POST, so you may leave out -X POST. The two fields arrive in
# form. Here img_file is only a text: curl sends the name of the file, not the file
# (notes: mistake 26).
curl -s "$URL/exam" -d model_type=qrcode -d img_file=qrcode.png
#=> {"args":{},"form":{"model_type":"qrcode","img_file":"qrcode.png"},"files":{}}

# The same name in the URL and in the body: args and form hold a value each.
curl -s "$URL/exam?model_type=qrcode" -d model_type=strawberry
#=> {"args":{"model_type":"qrcode"},"form":{"model_type":"strawberry"},"files":{}}

# What does a request with two fields look like? With --offline HTTPie prints it and
# sends nothing. Without a file HTTPie's --form makes a body like that of curl -d: all
# fields are one line, with "&" between them. (A "&" or "+" inside a value: HTTPie
# encodes it, -d does not; curl's --data-urlencode does.)
http --offline --form "$URL/exam" model_type=qrcode img_file=qrcode.png
#=> POST /exam HTTP/1.1
#=> ...
#=> Content-Type: application/x-www-form-urlencoded; charset=utf-8
#=> ...
#=>
#=> model_type=qrcode&img_file=qrcode.png

# With -F and "@" curl sends the file itself. It arrives in files, and the text in form.
curl -s "$URL/exam" -F model_type=qrcode -F "img_file=@$PICTURES/qrcode.png"
#=> {"args":{},"form":{"model_type":"qrcode"},"files":{"img_file":{"filename":"qrcode.png","bytes":5445}}}

# With a file ("@") HTTPie's --form makes a body like that of curl -F: a part for each
# field. A line stands before each part: two hyphens and a text that the client chooses,
# the boundary (here "cut"). --cut-- ends the body. In each part an empty line comes
# before the value or the bytes of the file; a file's part also has a filename. Here the
# file is empty: no bytes follow.
http --offline --form --boundary=cut "$URL/exam" model_type=qrcode img_file@"$PICTURES/empty"
#=> POST /exam HTTP/1.1
#=> ...
#=> Content-Type: multipart/form-data; boundary=cut
#=> ...
#=>
#=> --cut
#=> Content-Disposition: form-data; name="model_type"
#=>
#=> qrcode
#=> --cut
#=> Content-Disposition: form-data; name="img_file"; filename="empty"
#=>
#=>
#=> --cut--

# Find QR codes. The label is the text in the code. The box is x, y, width and height in
# pixels; x and y are those of its top left corner.
curl -s "$URL/inference" -F model_type=qrcode -F "img_file=@$PICTURES/qrcode.png"
#=> {"model_type":"qrcode","results":[{"filename":"qrcode.png","width":480,"height":240,"detections":[{"label":"안녕하세요","score":1.0,"box":[276,36,168,168]},{"label":"Hello Flask","score":1.0,"box":[36,36,168,168]}]}]}

# Find strawberries. The notes make this call with -d (you see it below, with the answer
# "0 files"). Here -F and "@" send the file. The score is between 0 and 1: the higher,
# the more certain.
curl -s -X POST "$URL/inference" -F model_type=strawberry -F "img_file=@$PHOTO"
#=> {"model_type":"strawberry","results":[{"filename":"strawberries.jpg","width":640,"height":480,"detections":[{"label":"strawberry","score":...,"box":[264,232,...,170]},{"label":"strawberry","score":...,"box":[146,127,134,164]},{"label":"strawberry","score":...,"box":[356,114,116,128]}]}]}

# Send several files under the same name: one result each, in the order of the upload.
# PUT works like POST.
curl -s -X PUT "$URL/inference" -F model_type=strawberry -F "img_file=@$PICTURES/qrcode.png" -F "img_file=@$PHOTO"
#=> {"model_type":"strawberry","results":[{"filename":"qrcode.png",...,"detections":[]},{"filename":"strawberries.jpg",...}]}

# The same with HTTPie. This call always sends strawberries.jpg: with your own photo
# $PHOTO may contain quotes, and HTTPie would take them for a part of the file's name.
http --body --form PUT "$URL/inference" model_type=strawberry img_file@"$PICTURES/qrcode.png" img_file@"$PICTURES/strawberries.jpg"
#=> {"model_type":"strawberry","results":[{"filename":"qrcode.png",...,"detections":[]},{"filename":"strawberries.jpg",...}]}

# With draw=1 the answer is your picture with the boxes drawn in it. -o saves it as
# answer.jpg in the folder in which you are: open that file. -w prints a text after the
# answer, here its status and its type.
curl -s -o answer.jpg -w '%{http_code} %{content_type}\n' "$URL/inference?draw=1" -F model_type=strawberry -F "img_file=@$PHOTO"
#=> 200 image/jpeg

# The page for a browser, and the sample picture that it offers. -o /dev/null throws the
# answer away: only the text of -w is left.
curl -s -o /dev/null -w '%{http_code} %{content_type}\n' "$URL/"
#=> 200 text/html; charset=utf-8
curl -s -o /dev/null -w '%{http_code} %{content_type}\n' "$URL/sample.jpg"
#=> 200 image/jpeg

# A wrong model. Every error is JSON. This one names the field and says what is allowed.
curl -s -w '%{http_code}\n' "$URL/inference" -F model_type=banana -F "img_file=@$PHOTO"
#=> {"error":"model_type: 'banana' is not one of strawberry, qrcode"}
#=> 400

# A wrong value in args.
curl -s "$URL/inference?draw=yes" -F model_type=strawberry -F "img_file=@$PHOTO"
#=> {"error":"draw: 'yes' is not one of 0, 1"}

# The call as it stands in the notes: no file arrives (notes: mistake 26).
curl -s -w '%{http_code}\n' -X POST "$URL/inference" -d "model_type=strawberry" -d "img_file=file_path"
#=> {"error":"img_file: 0 files, allowed are 1 to 10, or only 1 with draw=1"}
#=> 400

# A file that is not a picture: this script.
curl -s -w '%{http_code}\n' "$URL/inference" -F model_type=strawberry -F "img_file=@$0"
#=> {"error":"img_file: '08_inference.sh' is not a JPEG, PNG or WebP picture: save it as JPEG"}
#=> 400

# A method that the route does not have. Flask raises this error, and it is JSON, too.
http --print=hb DELETE "$URL/inference"
#=> HTTP/1.1 405 METHOD NOT ALLOWED
#=> ...
#=> Content-Type: application/json
#=> ...
#=> {"error":"The method is not allowed for the requested URL."}

# A path that no route has.
curl -s "$URL/nowhere"
#=> {"error":"The requested URL was not found on the server. If you entered the URL manually please check your spelling and try again."}
