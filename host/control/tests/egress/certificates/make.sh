#!/usr/bin/env bash
# Makes the test certificates anew: an authority, and a server that is secure.test and 127.0.0.1.
# They are valid for a hundred years and protect nothing.
set -euo pipefail
cd "$(dirname "$0")"
curve=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
openssl req -x509 "${curve[@]}" -days 36500 -subj "/CN=Foreshore test authority" -outform DER \
  -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign" \
  -out authority.der -keyout authority.key
openssl req "${curve[@]}" -subj "/CN=secure.test" -keyout server.pem -out server.csr
openssl x509 -req -in server.csr -CA authority.der -CAkey authority.key -days 36500 -outform DER \
  -extfile <(echo "subjectAltName=DNS:secure.test,IP:127.0.0.1") -out server.der
openssl pkcs8 -topk8 -nocrypt -in server.pem -outform DER -out server.key.der
rm -f authority.key server.csr server.pem
