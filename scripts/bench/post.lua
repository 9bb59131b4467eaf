-- Appends: the same body to the service and to the bare route. BENCH_ARRAY events a request (0: one, not in an array),
-- to BENCH_STREAMS streams in turn. BENCH_PATH and BENCH_EVENT: another path, another event. BENCH_IDS: the event is a text in
-- which {id} stands for 1 to so many in turn.
local array = tonumber(os.getenv("BENCH_ARRAY") or "0")
local streams = tonumber(os.getenv("BENCH_STREAMS") or "1")
local event = os.getenv("BENCH_EVENT") or '{"type":"OrderPlaced","data":{"orderId":"o-1","customer":"someone","amount":120.5,"items":[{"sku":"abc","n":1},{"sku":"def","n":2}],"note":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}}'

wrk.method = "POST"
wrk.path = os.getenv("BENCH_PATH") or "/api/streams/orders/events"
wrk.headers["Content-Type"] = "application/json"
wrk.body = event
if array > 0 then
  local events = {}
  for i = 1, array do events[i] = event end
  wrk.body = "[" .. table.concat(events, ",") .. "]"
end

local ids = tonumber(os.getenv("BENCH_IDS") or "0")
if ids > 0 then
  local requests = {}
  local last = 0
  init = function()
    for i = 1, ids do requests[i] = wrk.format("POST", wrk.path, wrk.headers, (event:gsub("{id}", tostring(i)))) end
  end
  request = function()
    last = last % ids + 1
    return requests[last]
  end
end

if streams > 1 then
  local requests = {}
  local last = 0
  init = function()
    for i = 1, streams do requests[i] = wrk.format("POST", "/api/streams/orders-" .. i .. "/events") end
  end
  request = function()
    last = last % streams + 1
    return requests[last]
  end
end
