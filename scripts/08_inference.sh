#!/bin/sh
# Lesson 8's calls. In another terminal first:  python 08_inference.py
# Your own photograph:  sh scripts/08_inference.sh http://127.0.0.1:4958 my.jpg
URL=${1:-http://127.0.0.1:4958}
PICTURES=$(dirname "$0")/pictures
PHOTO=${2:-$PICTURES/strawberries.jpg}
set -v

# What arrives where. After the "?" of the URL: args.
curl -s -X POST "$URL/exam?a=b"
#=> {"args":{"a":"b"},"form":{},"files":{}}
http --ignore-stdin --pretty=none --body POST "$URL/exam" a==b
#=> {"args":{"a":"b"},"form":{},"files":{}}

# With -d, as in the notes: form. A file's name arrives, not the file (erratum 27).
curl -s "$URL/exam?a=b" -d model_type=qrcode -d img_file=qrcode.png
#=> {"args":{"a":"b"},"form":{"model_type":"qrcode","img_file":"qrcode.png"},"files":{}}
http --ignore-stdin --pretty=none --body --form "$URL/exam?a=b" model_type=qrcode img_file=qrcode.png
#=> {"args":{"a":"b"},"form":{"model_type":"qrcode","img_file":"qrcode.png"},"files":{}}

# The same two names with -F and "@": the text in form, the file in files.
curl -s "$URL/exam?a=b" -F model_type=qrcode -F "img_file=@$PICTURES/qrcode.png"
#=> {"args":{"a":"b"},"form":{"model_type":"qrcode"},"files":{"img_file":{"filename":"qrcode.png","bytes":5445}}}
http --ignore-stdin --pretty=none --body --form "$URL/exam?a=b" model_type=qrcode img_file@"$PICTURES/qrcode.png"
#=> {"args":{"a":"b"},"form":{"model_type":"qrcode"},"files":{"img_file":{"filename":"qrcode.png","bytes":5445}}}

# QR codes: the label is the text of a code, the box its [x, y, width, height].
curl -s "$URL/inference" -F model_type=qrcode -F "img_file=@$PICTURES/qrcode.png"
#=> {"model_type":"qrcode","results":[{"filename":"qrcode.png","width":480,"height":240,"detections":[{"label":"안녕하세요","score":1.0,"box":[276,36,168,168]},{"label":"Hello Flask","score":1.0,"box":[36,36,168,168]}]}]}
http --ignore-stdin --pretty=none --body --form "$URL/inference" model_type=qrcode img_file@"$PICTURES/qrcode.png"
#=> {"model_type":"qrcode","results":[{"filename":"qrcode.png","width":480,"height":240,"detections":[{"label":"안녕하세요","score":1.0,"box":[276,36,168,168]},{"label":"Hello Flask","score":1.0,"box":[36,36,168,168]}]}]}

# Strawberries: the call of the notes, corrected.
curl -s -X POST "$URL/inference" -F model_type=strawberry -F "img_file=@$PHOTO"
#=> {"model_type":"strawberry","results":[{"filename":"strawberries.jpg","width":640,"height":480,"detections":[{"label":"strawberry","score":...,"box":[277,227,116,165]},{"label":"strawberry","score":...,"box":[351,109,123,133]},{"label":"strawberry","score":...,"box":[151,119,119,159]}]}]}
http --ignore-stdin --pretty=none --body --form POST "$URL/inference" model_type=strawberry img_file@"$PHOTO"
#=> {"model_type":"strawberry","results":[{"filename":"strawberries.jpg","width":640,"height":480,"detections":[{"label":"strawberry","score":...,"box":[277,227,116,165]},{"label":"strawberry","score":...,"box":[351,109,123,133]},{"label":"strawberry","score":...,"box":[151,119,119,159]}]}]}

# PUT works the same. Several pictures: one result each, in the order of the upload.
curl -s -X PUT "$URL/inference" -F model_type=strawberry -F "img_file=@$PICTURES/qrcode.png" -F "img_file=@$PHOTO"
#=> {"model_type":"strawberry","results":[{"filename":"qrcode.png",...,"detections":[]},{"filename":"strawberries.jpg",...}]}
http --ignore-stdin --pretty=none --body --form PUT "$URL/inference" model_type=strawberry img_file@"$PICTURES/qrcode.png" img_file@"$PHOTO"
#=> {"model_type":"strawberry","results":[{"filename":"qrcode.png",...,"detections":[]},{"filename":"strawberries.jpg",...}]}

# One picture answered as a picture: open answer.jpg.
curl -s -o answer.jpg -w '%{http_code} %{content_type}\n' "$URL/inference?draw=1" -F model_type=strawberry -F "img_file=@$PHOTO"
#=> 200 image/jpeg
http --ignore-stdin --pretty=none --headers --form "$URL/inference?draw=1" model_type=strawberry img_file@"$PHOTO"
#=> HTTP/1.1 200 OK
#=> ...
#=> Content-Type: image/jpeg
#=> ...

# A page for those who prefer a browser.
curl -s -o /dev/null -w '%{http_code} %{content_type}\n' "$URL/"
#=> 200 text/html; charset=utf-8
http --ignore-stdin --pretty=none --headers "$URL/"
#=> HTTP/1.1 200 OK
#=> ...

# A model that does not exist.
curl -s -w '%{http_code}\n' "$URL/inference" -F model_type=banana -F "img_file=@$PHOTO"
#=> {"error":"model_type: 'banana' is not one of strawberry, qrcode"}
#=> 400
http --ignore-stdin --pretty=none --body --form "$URL/inference" model_type=banana img_file@"$PHOTO"
#=> {"error":"model_type: 'banana' is not one of strawberry, qrcode"}

# The call of the notes as it stands: no file arrives.
curl -s -w '%{http_code}\n' -X POST "$URL/inference" -d "model_type=strawberry" -d "img_file=file_path"
#=> {"error":"img_file: 0 files, allowed are 1 to 10, 1 with draw=1"}
#=> 400
http --ignore-stdin --pretty=none --body --form "$URL/inference" model_type=strawberry img_file=file_path
#=> {"error":"img_file: 0 files, allowed are 1 to 10, 1 with draw=1"}

# A file that is no picture: this script.
curl -s -w '%{http_code}\n' "$URL/inference" -F model_type=strawberry -F "img_file=@$0"
#=> {"error":"img_file: '08_inference.sh' is no JPEG or PNG up to 25 Mpx"}
#=> 400
http --ignore-stdin --pretty=none --body --form "$URL/inference" model_type=strawberry img_file@"$0"
#=> {"error":"img_file: '08_inference.sh' is no JPEG or PNG up to 25 Mpx"}

# A method that the route does not have.
curl -s -w '%{http_code}\n' -X DELETE "$URL/inference"
#=> {"error":"The method is not allowed for the requested URL."}
#=> 405
http --ignore-stdin --pretty=none --print=hb DELETE "$URL/inference"
#=> HTTP/1.1 405 METHOD NOT ALLOWED
#=> ...
#=> {"error":"The method is not allowed for the requested URL."}
