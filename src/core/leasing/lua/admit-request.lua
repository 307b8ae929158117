--[[
  Admit a request of a worker's session, once. A session remembers the numbers of its last requests, each in
  the slot of its remainder: a request may come behind as many later ones as there are slots.

    KEYS[1]  session of the worker   {shard}:@tag:gatesession:<id>
    ARGV[1]  worker id   ARGV[2]  number of the request, from 1   ARGV[3]  slots
  Returns 'ok'; 'unknown' where there is no such session of this worker; or 'replayed' where the number, or so
  many later ones, came before.
]]
local number = tonumber(ARGV[2])
local slot = string.format('n%d', number % tonumber(ARGV[3]))
-- Any worker of the pool with a login can spoil this key; it is nobody's session then.
local known = redis.pcall('HMGET', KEYS[1], 'worker', slot)
if known.err or known[1] ~= ARGV[1] then return 'unknown' end
if known[2] and tonumber(known[2]) >= number then return 'replayed' end
redis.call('HSET', KEYS[1], slot, ARGV[2])
return 'ok'
