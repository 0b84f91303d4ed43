#!/bin/sh
# Lesson 8's calls. In another terminal first:  python 08_inference.py
# Your own photograph:  sh scripts/08_inference.sh http://127.0.0.1:4958 my.jpg
URL=${1:-http://127.0.0.1:4958}
PICTURES=$(dirname "$0")/pictures
PHOTO=${2:-$PICTURES/strawberries.jpg}
set -v

# What arrives where. After "?" in the URL: args.
curl -s -X POST "$URL/exam?a=b"
#=> {"args":{"a":"b"},"form":{},"files":{}}

# With -d, as the notes do it: form. The file itself is never sent (erratum 27).
curl -s "$URL/exam?a=b" -d model_type=qrcode -d img_file=qrcode.png
#=> {"args":{"a":"b"},"form":{"model_type":"qrcode","img_file":"qrcode.png"},"files":{}}

# With -F and "@": the text is in form, the file in files.
curl -s "$URL/exam?a=b" -F model_type=qrcode -F "img_file=@$PICTURES/qrcode.png"
#=> {"args":{"a":"b"},"form":{"model_type":"qrcode"},"files":{"img_file":{"filename":"qrcode.png","bytes":5445}}}

http --ignore-stdin --pretty=none --body --form "$URL/exam?a=b" model_type=qrcode img_file@"$PICTURES/qrcode.png"
#=> {"args":{"a":"b"},"form":{"model_type":"qrcode"},"files":{"img_file":{"filename":"qrcode.png","bytes":5445}}}

# QR codes: the label is the text of the code, the box is [x, y, width, height].
curl -s "$URL/inference" -F model_type=qrcode -F "img_file=@$PICTURES/qrcode.png"
#=> {"model_type":"qrcode","results":[{"filename":"qrcode.png","width":480,"height":240,"detections":[{"label":"안녕하세요","score":1.0,"box":[276,36,168,168]},{"label":"Hello Flask","score":1.0,"box":[36,36,168,168]}]}]}

# The same with PUT, and laid out by HTTPie (it sorts the keys).
http --ignore-stdin --pretty=format --body --form PUT "$URL/inference" model_type=qrcode img_file@"$PICTURES/qrcode.png"
#=> {
#=>     "model_type": "qrcode",
#=>     "results": [
#=>         {
#=>             "detections": [
#=> ...
#=> }

# The call of the notes, corrected: the network looks for strawberries.
curl -s -X POST "$URL/inference" -F model_type=strawberry -F "img_file=@$PHOTO"
#=> {"model_type":"strawberry","results":[{"filename":"strawberries.jpg","width":640,"height":480,"detections":[...]}]}

# Several pictures: one result for each, in the order of the upload.
curl -s "$URL/inference" -F model_type=strawberry -F "img_file=@$PICTURES/qrcode.png" -F "img_file=@$PHOTO"
#=> {"model_type":"strawberry","results":[{"filename":"qrcode.png","width":480,"height":240,"detections":[]},{"filename":"strawberries.jpg",...}]}

# One picture, answered as a picture: open answer.jpg.
curl -s -o answer.jpg -w '%{http_code} %{content_type}\n' "$URL/inference?draw=1" -F model_type=strawberry -F "img_file=@$PHOTO"
#=> 200 image/jpeg

# A page for people who prefer a browser.
curl -s -o /dev/null -w '%{http_code} %{content_type}\n' "$URL/"
#=> 200 text/html; charset=utf-8

# Wrong: an unknown model, no picture, a file that is no picture ...
curl -s -w '\n%{http_code}\n' "$URL/inference" -F model_type=banana -F "img_file=@$PHOTO"
#=> {"error": "model_type: 'banana' is not one of strawberry, qrcode"}
#=> 400

curl -s -w '\n%{http_code}\n' "$URL/inference" -d model_type=strawberry -d img_file=file_path
#=> {"error": "img_file: 0 pictures, allowed are 1 to 10"}
#=> 400

curl -s -w '\n%{http_code}\n' "$URL/inference" -F model_type=strawberry -F "img_file=@$0"
#=> {"error": "img_file: '08_inference.sh' is no readable JPEG or PNG of at most 25 megapixels"}
#=> 400

# ... and a method that the route does not have.
http --ignore-stdin --pretty=none --print=hb DELETE "$URL/inference"
#=> HTTP/1.1 405 METHOD NOT ALLOWED
#=> ...
#=> {"error": "The method is not allowed for the requested URL."}
