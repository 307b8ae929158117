--[[
  Read where a job stands when the time has come before which it is not to begin, for predictions.

    KEYS[1]  open jobs, for routing in a cluster
    ARGV[1]  key prefix   ARGV[2]  queue   ARGV[3]  flow   ARGV[4]  that time (ms)   ARGV[5]  slots
    ARGV[6]  ms for each job that must end first
    ARGV[7]  ms that the slots together take for a unit of cost
    ARGV[8]  what it costs its flow in tags   ARGV[9]  weight of its flow
    ARGV[10] its id, or "" where it is not submitted    ARGV[11] its band
  Returns { jobs that must end before it, distance of its tag from the present }, both then.
]]
local queue, flow = ARGV[2], ARGV[3]
local lane = laneOf(queue, ARGV[11])
local time = redis.call('TIME')
local nowMs = time[1] * 1000 + math.floor(time[2] / 1000)
local of = { nowMs = nowMs, atMs = math.max(nowMs, tonumber(ARGV[4])), slots = tonumber(ARGV[5]),
  perEnd = tonumber(ARGV[6]), perCost = tonumber(ARGV[7]), charge = tonumber(ARGV[8]),
  weight = tonumber(ARGV[9]), earlier = 0, id = ARGV[10] ~= '' and ARGV[10] or nil }
local inHand = redis.call('ZCARD', keys.leases(queue)) + redis.call('ZCARD', keys.released(queue))
local function before(tag)
  local count = redis.call('ZCOUNT', keys.backlog(lane), '-inf', string.format('%.17g', tag))
  return inHand + count + jobsBeside(lane, count, function(other)
    return redis.call('ZCOUNT', keys.backlog(other), '-inf', '(' .. heldTag)
  end)
end
local present = presentOf(lane)
local tag = math.max(present, finishOf(lane, flow))
local now = { ahead = before(tag), distance = tag - present, ties = before(present) }
local place = duePlace(queue, flow, of, now)
return { string.format('%.17g', place.ends), string.format('%.17g', place.distance) }
