--[[
  Give Redis back records that it has lost, with the places of their confirmations. What is open of their jobs
  is void: they are sealed when the log is whole again.

    KEYS[1]  unsealed   {shard}:unsealed    sorted set: jobs by their place
    KEYS[2]  recovered  {shard}:recovered   set: jobs whose place was given back
    ARGV[1]  key prefix     ARGV[2]  how long (ms) ended jobs are kept
    ARGV[3+] per job: id, place, time of its end (ms), record
  Returns how many were given back: not those of which nothing is open and that are not kept that long.
]]
local time = redis.call('TIME')
local oldest = time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(ARGV[2])
local restored = 0
for at = 3, #ARGV, 4 do
  local id, place, ended, record = unpack(ARGV, at, at + 3)
  if tonumber(ended) > oldest or redis.call('EXISTS', keys.ticket(id)) == 1 then
    redis.call('SET', keys.record(id), record)
    redis.call('ZADD', KEYS[1], place, id)
    redis.call('SADD', KEYS[2], id)
    restored = restored + 1
  end
end
return restored
