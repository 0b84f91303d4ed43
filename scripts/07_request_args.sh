#!/bin/sh
# Lesson 7's calls. In another terminal first:  python 07_request_args.py
URL=${1:-http://127.0.0.1:8080}
set -v

# One argument.
curl -s "$URL/login?user_name=foo"
#=> {"auth":"success","tmp_parameter":null}
http --ignore-stdin --pretty=none --body GET "$URL/login?user_name=foo"
#=> {"auth":"success","tmp_parameter":null}

# Two. The quotes matter: bare, the shell would cut the line at "&", run the first
# half in the background, and tmp_parameter would never be sent (erratum 23). zsh
# would not even take the "?". HTTPie can also build the query: name==value.
curl -s "$URL/login?user_name=foo&tmp_parameter=bar"
#=> {"auth":"success","tmp_parameter":"bar"}
http --ignore-stdin --pretty=none --body GET "$URL/login?user_name=foo&tmp_parameter=bar"
#=> {"auth":"success","tmp_parameter":"bar"}
http --ignore-stdin --pretty=none --body "$URL/login" user_name==foo tmp_parameter==bar
#=> {"auth":"success","tmp_parameter":"bar"}

# A value that a URL cannot hold as it is: both tools encode it.
curl -s -G "$URL/login" -d user_name=foo --data-urlencode "tmp_parameter=a & b"
#=> {"auth":"success","tmp_parameter":"a & b"}
http --ignore-stdin --pretty=none --body "$URL/login" user_name==foo tmp_parameter=="a & b"
#=> {"auth":"success","tmp_parameter":"a & b"}

# Another name.
curl -s "$URL/login?user_name=bar"
#=> {"auth":"failed","tmp_parameter":null}
http --ignore-stdin --pretty=none --body "$URL/login" user_name==bar
#=> {"auth":"failed","tmp_parameter":null}

# A number, and a name that is there twice.
curl -s "$URL/items?page=2&tag=red&tag=sweet"
#=> {"page":2,"tags":["red","sweet"]}
http --ignore-stdin --pretty=none --body "$URL/items" page==2 tag==red tag==sweet
#=> {"page":2,"tags":["red","sweet"]}

# Nothing at all: the default and an empty list.
curl -s "$URL/items"
#=> {"page":1,"tags":[]}
http --ignore-stdin --pretty=none --body "$URL/items"
#=> {"page":1,"tags":[]}

# type=int hides a mistake: asked for page "two", answered with page 1.
curl -s "$URL/items?page=two"
#=> {"page":1,"tags":[]}
http --ignore-stdin --pretty=none --body "$URL/items" page==two
#=> {"page":1,"tags":[]}

# A required argument: right ...
curl -s "$URL/twice?number=21"
#=> {"twice":42}
http --ignore-stdin --pretty=none --body "$URL/twice" number==21
#=> {"twice":42}

# ... not a number ...
curl -s -w '%{http_code}\n' "$URL/twice?number=three"
#=> {"error":"number: 'three' is not a whole number"}
#=> 400
http --ignore-stdin --pretty=none --body "$URL/twice" number==three
#=> {"error":"number: 'three' is not a whole number"}

# ... and missing.
curl -s -w '%{http_code}\n' "$URL/twice"
#=> {"error":"number: missing in the URL"}
#=> 400
http --ignore-stdin --pretty=none --print=hb "$URL/twice"
#=> HTTP/1.1 400 BAD REQUEST
#=> ...
#=> {"error":"number: missing in the URL"}
