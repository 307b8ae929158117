--[[
  Included by the scripts that ask whether the engine of a claim began.

  A claim is `<worker> <token> <ms>`, and `begins` behind it where the place of an engine was free. Any other
  is held ready, until its holder writes `<secret> <ms>`. Every worker of the pool can write there, and reads
  the token; the secret, of which the token is the digest, only the holder knows before.

    hasBegun(claim, began)   whether it has, by the two fields as they are stored, or false where there are
    none
]]
local function hasBegun(claim, began)
  local token, word = string.match(string.sub(claim or '', 1, 256), '^%S+ (%S+) %S+ ?(%S*)$')
  if word == 'begins' then return true end
  local secret = string.match(string.sub(began or '', 1, 64), '^(%x+) ')
  return secret ~= nil and #secret == 16 and string.sub(redis.sha1hex(secret), 1, 16) == token
end
