--[[
  Write one entry of the audit log and carry out the change that it is about, in one step: whoever dies leaves
  both or neither. See append-entry.lua.

    KEYS[1]   any key of the shard that the caller may write, for routing in a cluster
    ARGV[1]   key prefix                     ARGV[4]  the change: commands in JSON, each a list of words
    ARGV[2]   number of the entry            ARGV[5]  a key that must not exist, or ""
    ARGV[3]   its text                       ARGV[6…] fields: with some, it may exist without all of these
  Returns
    {'ok'}                      the entry is written and the change is made
    {'exists'}                  the key of ARGV[5], or one of its fields, exists: nothing was done
    {'taken', number, text}     see append-entry.lua; nothing was done
    {'lost'}                    see append-entry.lua; nothing was done
]]
local number = tonumber(ARGV[2])
if ARGV[5] ~= '' and #ARGV == 5 and redis.call('EXISTS', ARGV[5]) == 1 then return { 'exists' } end
for at = 6, #ARGV do
  if redis.call('HEXISTS', ARGV[5], ARGV[at]) == 1 then return { 'exists' } end
end
local elsewhere = misplaced(number)
if elsewhere then return elsewhere end
append(number, ARGV[3])
for _, command in ipairs(cjson.decode(ARGV[4])) do redis.call(unpack(command)) end
return { 'ok' }
