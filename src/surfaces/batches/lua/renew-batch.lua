--[[
  Take a batch's lease, or renew it: one courier works on a batch at a time.

    KEYS[1]  lease   {shard}:batchlease:<id>   ARGV[1]  who asks
    KEYS[2]  batch   {shard}:batch:<id>        ARGV[2]  life of the lease, ms
                                               ARGV[3]  'take' or 'renew'
  Returns { 'held', status, ms at which its window ends, why it is stopped or "" }, or { 'lost' }.
]]
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return { 'lost' } end
-- A lease that ran out may have been another's meanwhile: it is not renewed.
if not holder and ARGV[3] == 'renew' then return { 'lost' } end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
local status, expires, stop = unpack(redis.call('HMGET', KEYS[2], 'status', 'expiresMs', 'stop'))
return { 'held', status or '', expires or '0', stop or '' }
