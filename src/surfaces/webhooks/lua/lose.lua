--[[
  Included by the scripts that may lose a webhook message: because too many wait, or because it waited for
  longer than messages are kept.

    lose(tenant, target, maximum events of a feed, now as text)  counts one more, and tells it in the tenant's
        feed: the first one, and then whenever as many more are lost as were before
]]
local function lose(tenant, target, feedEvents, at)
  local count = redis.call('HINCRBY', keys.webhookLost, tenant .. ' ' .. target, 1)
  if bit.band(count, count - 1) ~= 0 then return end
  redis.call('XADD', keys.feed(tenant), 'MAXLEN', '~', feedEvents, '*', 'type', 'webhook.lost', 'data',
    '{"type":"webhook.lost","timestamp":"' .. at .. '","data":{"endpoint":"' ..
    string.match(target, '^[^~]+') .. '","lost":' .. string.format('%.0f', count) .. '}}')
end
