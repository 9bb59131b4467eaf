-- One event a request: what wrk sends to the append route and to the bare route alike.
wrk.method = "POST"
wrk.body = '{"type":"OrderPlaced","data":{"orderId":"o-1","customer":"someone","amount":120.5,"items":[{"sku":"abc","n":1},{"sku":"def","n":2}],"note":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}}'
wrk.headers["Content-Type"] = "application/json"
