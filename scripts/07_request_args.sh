#!/bin/sh
# Lesson 7's calls. In another terminal first:  python 07_request_args.py
URL=${1:-http://127.0.0.1:8080}
# In a script HTTPie must not read standard input: it would wait, or send a POST.
http() { command http --ignore-stdin --pretty=none "$@"; }
# Only lesson 7 has the path /login.
case $(curl -s -o /dev/null -w '%{http_code}' -X OPTIONS "$URL/login") in
    200) ;;
    000 | "") echo "Nothing answers at $URL. In another terminal start: python 07_request_args.py" >&2; exit 1 ;;
    *) echo "Another server answers at $URL. Stop it, then start: python 07_request_args.py" >&2; exit 1 ;;
esac
set -v

# One argument. The other is missing: get() returns None, which is null in JSON.
curl -s "$URL/login?user_name=foo"
#=> {"auth":"success","tmp_parameter":null}

# Two arguments, with "&" between them. The quotes are needed: without them the shell
# ends the command at "&", and tmp_parameter is never sent (notes: mistake 25).
curl -s "$URL/login?user_name=foo&tmp_parameter=bar"
#=> {"auth":"success","tmp_parameter":"bar"}

# HTTPie can write the "?" and the "&" for you: name==value. It also encodes what a URL
# cannot hold as it is, here "&" and the spaces.
http --body "$URL/login" user_name==foo tmp_parameter=='a & b'
#=> {"auth":"success","tmp_parameter":"a & b"}

# curl does the same with -G and --data-urlencode.
curl -s -G "$URL/login" --data-urlencode 'user_name=foo' --data-urlencode 'tmp_parameter=a & b'
#=> {"auth":"success","tmp_parameter":"a & b"}

# Another name.
curl -s "$URL/login?user_name=bar"
#=> {"auth":"failed","tmp_parameter":null}

# A number, and a name that comes twice.
curl -s "$URL/items?page=2&tag=red&tag=sweet"
#=> {"page":2,"tags":["red","sweet"]}

# No arguments: page is the default, and the list of tags is empty.
curl -s "$URL/items"
#=> {"page":1,"tags":[]}

# "two" is not a number. The view takes the default, and the client does not learn of
# the mistake.
curl -s "$URL/items?page=two"
#=> {"page":1,"tags":[]}

# A required argument.
curl -s "$URL/even?number=42"
#=> {"even":true,"number":42}

# The argument is not a number: the answer says what is wrong.
curl -s -w '%{http_code}\n' "$URL/even?number=three"
#=> {"error":"number must be a whole number","number":"three"}
#=> 400

# The argument is missing: the error handler names it.
curl -s -w '%{http_code}\n' "$URL/even"
#=> {"error":"number is missing in the URL"}
#=> 400
