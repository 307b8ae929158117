--[[
  Give Redis back records that it has lost, with the places of their confirmations. What is open of their jobs
  is void: they are sealed when the log is whole again.

    KEYS[1]  log        {shard}:log         ARGV[1]  key prefix
    KEYS[2]  tail       {shard}:log:tail    ARGV[2]  the size that Redis had published
    KEYS[3]  unsealed   {shard}:unsealed    ARGV[3]  how many entries Redis had
    KEYS[4]  recovered  {shard}:recovered   ARGV[4]  how long (ms) ended jobs are kept
                                            ARGV[5+] per job: id, place, time of its end (ms), record
  Returns how many were given back: not those of which nothing is open and that are not kept that long. -1
  where Redis has changed meanwhile and nothing was done: another has recovered the log, and what it gave back
  may be sealed or erased by now.
]]
local size = tonumber(redis.call('HGET', KEYS[1], 'size') or 0)
local total = size - size % 256 + redis.call('LLEN', KEYS[2])
if size ~= tonumber(ARGV[2]) or total ~= tonumber(ARGV[3]) then return -1 end
local time = redis.call('TIME')
local oldest = time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(ARGV[4])
local restored = 0
for at = 5, #ARGV, 4 do
  local id, place, ended, record = unpack(ARGV, at, at + 3)
  if tonumber(ended) > oldest or redis.call('EXISTS', keys.ticket(id)) == 1 then
    redis.call('SET', keys.record(id), record)
    redis.call('ZADD', KEYS[3], place, id)
    -- What another gave back to another Redis counts no more.
    redis.call('SADD', KEYS[4], size .. ' ' .. total .. ' ' .. id)
    restored = restored + 1
  end
end
return restored
