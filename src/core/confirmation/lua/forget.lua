--[[
  Forget ended jobs: those that ended too long ago, and the oldest of a tenant that has more than are kept.
  Once a courier has recorded any end, no job is forgotten before its end is recorded, and none that a batch
  has not read yet.

  Each attestor says what it was told to keep, and of all that was said of late the most counts: nothing is
  forgotten that any of them was told to keep.

    KEYS[1]  all ended  {shard}:ended      ARGV[1]  key prefix
    KEYS[2]  overfull   {shard}:overfull   ARGV[2]  how long (ms) a job is kept after its end, as this
                                                    attestor was told
                                           ARGV[3]  most ended jobs of a tenant, likewise
                                           ARGV[4]  most jobs to forget in one call
                                           ARGV[5]  how long (ms) counts what an attestor has said
  Returns the number of jobs forgotten, and how long (ms) and how many of a tenant are kept.
]]
local batch = tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local entered = tonumber(redis.call('HGET', keys.jobEnds, 'cursor') or '+inf')

local keptFor, most = tonumber(ARGV[2]), tonumber(ARGV[3])
local fewest = most
redis.call('HSET', keys.retention, ARGV[2] .. ' ' .. ARGV[3], string.format('%.0f', now))
local said = redis.call('HGETALL', keys.retention)
for at = 1, #said, 2 do
  local forMs, jobs = string.match(said[at], '^(%d+) (%d+)$')
  if now - tonumber(said[at + 1]) > tonumber(ARGV[5]) then
    redis.call('HDEL', keys.retention, said[at])
  else
    keptFor, most = math.max(keptFor, tonumber(forMs)), math.max(most, tonumber(jobs))
    fewest = math.min(fewest, tonumber(jobs))
  end
end

local function forget(id, tenant)
  local head = redis.call('GETRANGE', keys.record(id), 0, 199)
  local kept = tenant or string.match(head, '^1 %a+ %S+ %d+ (%S+) ')
  if kept then redis.call('ZREM', keys.endedOf(kept), id) end
  redis.call('UNLINK', keys.record(id))
  redis.call('UNLINK', keys.job(id))
  redis.call('ZREM', KEYS[1], id)
end

-- The first `most` of what `page` gives, page by page, that may be forgotten now.
local function forgettable(most, page)
  local found, from = {}, 0
  while #found < most and from < 10 * batch do
    local ids = page(from)
    for _, id in ipairs(ids) do
      local spared = tonumber(redis.call('ZSCORE', keys.batchJobs, id) or 0)
      if spared < now and #found < most then found[#found + 1] = id end
    end
    if #ids < batch then break end
    from = from + batch
  end
  return found
end

local before = string.format('%.17g', math.min(now - keptFor, entered))
local old = forgettable(batch, function(from)
  return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', before, 'LIMIT', from, batch)
end)
for _, id in ipairs(old) do forget(id) end
local forgotten = #old

local tenant = redis.call('SRANDMEMBER', KEYS[2])
if tenant and forgotten < batch then
  local excess = redis.call('ZCARD', keys.endedOf(tenant)) - most
  local oldest = forgettable(math.max(0, math.min(excess, batch - forgotten)), function(from)
    return redis.call('ZRANGE', keys.endedOf(tenant), from, from + batch - 1)
  end)
  local removed = 0
  for _, id in ipairs(oldest) do
    if tonumber(redis.call('ZSCORE', KEYS[1], id) or 0) <= entered then
      forget(id, tenant)
      removed = removed + 1
    end
  end
  -- Whoever has more than the fewest that anybody keeps is looked at again: the most counts for a while only.
  if redis.call('ZCARD', keys.endedOf(tenant)) <= fewest then redis.call('SREM', KEYS[2], tenant) end
  forgotten = forgotten + removed
end
return { forgotten, keptFor, most }
