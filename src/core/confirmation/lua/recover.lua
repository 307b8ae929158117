--[[
  Put the log of the disk in the place of what Redis has, in one step. Places that were given to others since
  are void: their jobs wait for a verdict again.

    KEYS[1]  log        {shard}:log         ARGV[1]  key prefix
    KEYS[2]  tail       {shard}:log:tail    ARGV[2]  the size that Redis had published
    KEYS[3]  unsealed   {shard}:unsealed    ARGV[3]  how many entries Redis had
    KEYS[4]  recovered  {shard}:recovered   ARGV[4]  the size that is published from now on
    KEYS[5]  open       {shard}:open        ARGV[5]  its checkpoint
                                            ARGV[6+] the entries after the last whole tile of that size
  Returns how many jobs wait again, or -1 where Redis has changed meanwhile and nothing was done.
]]
local size = tonumber(redis.call('HGET', KEYS[1], 'size') or 0)
local total = size - size % 256 + redis.call('LLEN', KEYS[2])
if size ~= tonumber(ARGV[2]) or total ~= tonumber(ARGV[3]) then return -1 end
local again = 0
for _, id in ipairs(redis.call('ZRANGE', KEYS[3], size, '+inf', 'BYSCORE')) do
  if redis.call('SISMEMBER', KEYS[4], size .. ' ' .. total .. ' ' .. id) == 0 then
    redis.call('HDEL', keys.ruling(id), 'logged')
    redis.call('UNLINK', keys.record(id))
    redis.call('ZREM', KEYS[3], id)
    local deadline = redis.call('HGET', keys.ticket(id), 'deadline')
    redis.call('ZADD', KEYS[5], deadline or 0, id)
    redis.call('ZADD', keys.confirmations, 0, id)
    again = again + 1
  end
end
redis.call('DEL', KEYS[2], KEYS[4])
for at = 6, #ARGV, 1000 do redis.call('RPUSH', KEYS[2], unpack(ARGV, at, math.min(at + 999, #ARGV))) end
redis.call('HSET', KEYS[1], 'size', ARGV[4], 'checkpoint', ARGV[5])
return again
