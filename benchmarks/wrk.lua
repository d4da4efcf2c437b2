-- Sends the request heads of a file, each ending with an empty line, one after the other; prints what came of it as
-- JSON. With "ids" as second argument every request carries an X-Request-Id of its own.

local function heads_of(path)
   local file = assert(io.open(path, "rb"))
   local text = file:read("*a")
   file:close()
   local heads = {}
   for head in text:gmatch("(.-\r\n\r\n)") do heads[#heads + 1] = head end
   return heads
end

function wrk.init(arguments)
   local heads = heads_of(arguments[1])
   local count, at = #heads, 0
   if arguments[2] == "ids" then
      local number = 0
      local start = heads[1]:sub(1, -3) .. "X-Request-Id: 4f1c0a9e-7b2d-4c55-9d1e-"
      request = function()
         number = number + 1
         return string.format("%s%012x\r\n\r\n", start, number)
      end
   elseif count > 1 then
      request = function()
         at = at % count + 1
         return heads[at]
      end
   else
      -- Without a global "request", wrk makes its request once: the generator must not be what is measured.
      wrk.request = function() return heads[1] end
   end
end

function done(summary, latency)
   local errors = summary.errors
   local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
   io.write(string.format(
      '\n{"requests": %d, "seconds": %.6f, "bytes": %d, "failed": %d, "p50": %.3f, "p99": %.3f}\n',
      summary.requests, summary.duration / 1e6, summary.bytes, failed,
      latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
