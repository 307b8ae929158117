--[[
  Take what a link begins; it can be taken once.

    KEYS[1]  login link  {shard}:loginlink:<hash>   string: JSON
  Returns what it holds, or nothing where it was taken or is too old.
]]
local held = redis.call('GET', KEYS[1])
if held then redis.call('UNLINK', KEYS[1]) end
return held
