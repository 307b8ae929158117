--[[
  Count a finding of a slow method for or against a worker, once for each attempt.

    KEYS[1]  audited      {shard}:audited:<id>:<epoch>   says for a while that this finding was counted
    KEYS[2]  suspicion    {shard}:suspicion       hash: "worker model" -> score
    KEYS[3]  quarantined  {shard}:quarantined     set of workers
    ARGV[1]  how long (ms) that is said   ARGV[2]  worker   ARGV[3]  model   ARGV[4]  weight of the finding
    ARGV[5]  score that quarantines
  Returns the score as text, and 1 where this finding put the worker into quarantine.
]]
local field = ARGV[2] .. ' ' .. ARGV[3]
local score = tonumber(redis.call('HGET', KEYS[2], field) or 0)
if not redis.call('SET', KEYS[1], '1', 'NX', 'PX', ARGV[1]) then return { tostring(score), 0 } end
score = math.max(0, score + tonumber(ARGV[4]))
if score == 0 then
  redis.call('HDEL', KEYS[2], field)
else
  redis.call('HSET', KEYS[2], field, tostring(score))
end
local added = 0
if score >= tonumber(ARGV[5]) then added = redis.call('SADD', KEYS[3], ARGV[2]) end
return { tostring(score), added }
