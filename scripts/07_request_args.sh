#!/bin/sh
# Lesson 7's calls. In another terminal first:  python 07_request_args.py
# A line with #=> is the answer to expect. There "..." stands for text that can differ; a
# line with only "..." stands for any number of lines.
URL=${1:-http://127.0.0.1:8080}

# You can skip the lines up to "set -v": they prepare HTTPie and look for lesson 7. After
# "set -v" the shell prints each line before it runs it.
# In a script HTTPie may look for input from another program (standard input): it then
# waits for this input, or sends it as the body. --ignore-stdin forbids that.
http() { command http --ignore-stdin --pretty=none "$@"; }
# Ask the lesson itself, even if a proxy is set on this computer.
export no_proxy="*" NO_PROXY="*"
# A browser's address bar adds "/" at the end: leave it out.
URL=${URL%/}
# Only lesson 7 has the path /login.
case $(curl -s -m 9 -o /dev/null -w '%{http_code}' -X OPTIONS "$URL/login") in
    200) ;;
    000 | "") echo "Nothing answers at $URL. In another terminal start: python 07_request_args.py" >&2; exit 1 ;;
    *) echo "Another server answers at $URL. Stop it, then start: python 07_request_args.py" >&2; exit 1 ;;
esac
set -v

# Send one argument. The other is missing: get() returns None, which is null in JSON.
curl -s "$URL/login?user_name=foo"
#=> {"auth":"success","tmp_parameter":null}

# Send two arguments, with "&" between them. Put the URL in quotes: without them the
# shell ends the command at "&" and does not send tmp_parameter (notes: mistake 25).
curl -s "$URL/login?user_name=foo&tmp_parameter=bar"
#=> {"auth":"success","tmp_parameter":"bar"}

# The notes make the first call with HTTPie. Put this URL in quotes, too: without them
# zsh would stop at the "?" (notes: mistake 25).
http --body GET "$URL/login?user_name=foo"
#=> {"auth":"success","tmp_parameter":null}

# With name==value HTTPie adds "?" and "&" for you. It also encodes the spaces and "&"
# in the value: a bare "&" would start the next argument.
http --body "$URL/login" user_name==foo tmp_parameter=='a & b'
#=> {"auth":"success","tmp_parameter":"a & b"}

# --data-urlencode encodes such characters, and with -G curl adds "?" and "&". (Without
# -G it would send a POST with the values in the body.)
curl -s -G "$URL/login" --data-urlencode user_name=foo --data-urlencode 'tmp_parameter=a & b'
#=> {"auth":"success","tmp_parameter":"a & b"}

# Send another name.
curl -s "$URL/login?user_name=bar"
#=> {"auth":"failed","tmp_parameter":null}

# Send a page number, and two tags.
curl -s "$URL/items?page=2&tag=red&tag=sweet"
#=> {"page":2,"tags":["red","sweet"]}

# Send no arguments. page is the default, and the list of tags is empty.
curl -s "$URL/items"
#=> {"page":1,"tags":[]}

# "two" is not a whole number. page is the default again, and the answer does not tell
# the client about the mistake.
curl -s "$URL/items?page=two"
#=> {"page":1,"tags":[]}

# Send the required argument.
curl -s "$URL/even?number=8"
#=> {"even":true,"number":8}

# "three" is not a whole number. This time the answer says so.
curl -s -w '%{http_code}\n' "$URL/even?number=three"
#=> {"error":"number must be a whole number","number":"three"}
#=> 400

# The required argument is missing. The error handler names it.
curl -s -w '%{http_code}\n' "$URL/even"
#=> {"error":"number is missing in the URL"}
#=> 400
