#!/bin/sh
# Lesson 7's calls. In another terminal first:  python 07_request_args.py
URL=${1:-http://127.0.0.1:8080}
set -v

# The call of the notes, one argument.
http --ignore-stdin --pretty=none --body GET "$URL/login?user_name=foo"
#=> {"auth":"success","tmp_parameter":null}

# Two arguments. The quotes matter: bare, the shell would cut the line at "&",
# run the first half in the background, and tmp_parameter would never be sent
# (erratum 23). zsh would not even take the "?".
http --ignore-stdin --pretty=none --body GET "$URL/login?user_name=foo&tmp_parameter=bar"
#=> {"auth":"success","tmp_parameter":"bar"}

curl -s "$URL/login?user_name=foo&tmp_parameter=bar"
#=> {"auth":"success","tmp_parameter":"bar"}

# HTTPie can build the query string: name==value.
http --ignore-stdin --pretty=none --body "$URL/login" user_name==foo tmp_parameter==bar
#=> {"auth":"success","tmp_parameter":"bar"}

# So can curl, and it encodes what a URL cannot hold (here: a space and "&").
curl -s -G "$URL/login" -d user_name=foo --data-urlencode "tmp_parameter=a & b"
#=> {"auth":"success","tmp_parameter":"a & b"}

# Another name, or none.
curl -s "$URL/login?user_name=bar"
#=> {"auth":"failed","tmp_parameter":null}

curl -s "$URL/login"
#=> {"auth":"failed","tmp_parameter":null}

# A default, a number, a name that is there twice.
curl -s "$URL/items"
#=> {"page":1,"tags":[]}

curl -s "$URL/items?page=2&tag=red&tag=sweet"
#=> {"page":2,"tags":["red","sweet"]}

http --ignore-stdin --pretty=none --body "$URL/items" page==2 tag==red tag==sweet
#=> {"page":2,"tags":["red","sweet"]}

# type=int hides a mistake: the client asked for page "two" and got page 1.
curl -s "$URL/items?page=two"
#=> {"page":1,"tags":[]}

# A required argument: right, not a number, missing.
curl -s "$URL/twice?number=21"
#=> {"twice":42}

curl -s -w '%{http_code}\n' "$URL/twice?number=three"
#=> {"error":"number: 'three' is not a whole number"}
#=> 400

http --ignore-stdin --pretty=none --print=hb "$URL/twice"
#=> HTTP/1.1 400 BAD REQUEST
#=> ...
#=> {"error":"number: missing in the URL"}
