--[[
  Start-time fair queueing (Goyal, Vin, Chen 1996): each delivery gets a start tag, and the queue serves the
  smallest first. A tenant's next delivery starts where its last one ended, in units of cost, but never before
  the present: the tag of the delivery to be served next. A flood by one tenant therefore waits only behind
  itself only.

    KEYS[1]  finish tags of the tenants, a hash    {shard}:fair:<queue>
    KEYS[2]  BullMQ's waiting deliveries           <prefix>:<queue>:prioritized
    ARGV[1]  largest tag that BullMQ takes as a priority
    ARGV[2+] per delivery: tenant, cost
  Returns the tags, each at least 1. A caller that dies after this has charged its tenants for deliveries that
  were never added; the end of the busy period clears that.
]]
local finishTags, waiting, largest = KEYS[1], KEYS[2], tonumber(ARGV[1])
-- BullMQ keeps `priority * 2^32 + counter` as the score.
local unit = 4294967296
local next = redis.call('ZRANGE', waiting, 0, 0, 'WITHSCORES')
local now = 1
if not next[1] then
  -- The queue is empty: a new busy period begins, in which all tenants are equal.
  redis.call('DEL', finishTags)
else
  -- A hostile worker can write any score here.
  now = math.max(1, math.min(math.floor(tonumber(next[2]) / unit), largest))
end

-- Tags grow as long as the queue is not empty, and BullMQ bounds them: move all back to 1 in good time.
if now > largest / 2 then
  local back = now - 1
  for from = 0, redis.call('ZCARD', waiting) - 1, 500 do
    local page = redis.call('ZRANGE', waiting, from, from + 499, 'WITHSCORES')
    local moved = {}
    for at = 1, #page, 2 do
      moved[at] = string.format('%.0f', math.max(tonumber(page[at + 1]) - back * unit, 0))
      moved[at + 1] = page[at]
    end
    redis.call('ZADD', waiting, unpack(moved))
  end
  local finishes = redis.call('HGETALL', finishTags)
  redis.call('DEL', finishTags)
  for at = 1, #finishes, 2 do
    local finish = tonumber(finishes[at + 1]) - back
    if finish > 1 then redis.call('HSET', finishTags, finishes[at], finish) end
  end
  now = 1
end

local tags, finish = {}, {}
for at = 2, #ARGV, 2 do
  local tenant = ARGV[at]
  local start = math.max(now, finish[tenant] or tonumber(redis.call('HGET', finishTags, tenant) or 0))
  finish[tenant] = math.min(start + tonumber(ARGV[at + 1]), largest)
  tags[#tags + 1] = math.min(start, largest)
end
for tenant, tag in pairs(finish) do redis.call('HSET', finishTags, tenant, tag) end
return tags
