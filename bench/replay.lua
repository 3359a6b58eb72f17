-- Replays the HTTP requests in the file that REQUESTS names (a line with the length, then the bytes, over and over),
-- and prints what wrk measured as one line of JSON. Nothing is built per request.
local requests, position, count = {}, 0, 0

function init(args)
  local file = io.open(os.getenv("REQUESTS"), "rb")
  while true do
    local length = file:read("*l")
    if not length or length == "" then break end
    count = count + 1
    requests[count] = file:read(tonumber(length))
  end
  file:close()
end

function request()
  position = position % count + 1
  return requests[position]
end

function done(summary, latency, per_request)
  local errors = summary.errors
  io.write(string.format(
    '\nRESULT {"microseconds":%d,"requests":%d,"p50":%.1f,"p99":%.1f,"errors":%d}\n',
    summary.duration, summary.requests, latency:percentile(50), latency:percentile(99),
    errors.status + errors.connect + errors.read + errors.write + errors.timeout))
end
