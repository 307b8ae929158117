--[[
  Included by the scripts that count what is spent by day and month, UTC.

    period(ms, span)     the name of the day or the month of a time, such as 2026-11-26 or 2026-11
    periodEnd(ms, span)  when it is over, ms
    spend(tenant, key, unit, amount, ms)  counts what was spent at this time: in total, by month and by day
]]
local DAY_MS = 86400000

-- Days since 1970 as a date: the civil calendar in eras of 400 years, which begin in March.
local function dateOf(days)
  local z = days + 719468
  local era = math.floor(z / 146097)
  local day = z - era * 146097
  local leaps = math.floor(day / 1460) - math.floor(day / 36524) + math.floor(day / 146096)
  local year = math.floor((day - leaps) / 365)
  local rest = day - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local march = math.floor((5 * rest + 2) / 153)
  local month = march < 10 and march + 3 or march - 9
  return year + era * 400 + (month <= 2 and 1 or 0), month, rest - math.floor((153 * march + 2) / 5) + 1
end

local function period(ms, span)
  local year, month, day = dateOf(math.floor(ms / DAY_MS))
  if span == 'month' then return string.format('%04d-%02d', year, month) end
  return string.format('%04d-%02d-%02d', year, month, day)
end

local function periodEnd(ms, span)
  local days = math.floor(ms / DAY_MS)
  local month = period(ms, 'month')
  repeat days = days + 1 until span == 'day' or period(days * DAY_MS, 'month') ~= month
  return days * DAY_MS
end

-- How long a day and a month are counted on, from the last change on.
local COUNTED_MS = { day = 40 * DAY_MS, month = 400 * DAY_MS }

local function spend(tenant, key, unit, amount, ms)
  if amount == 0 then return end
  local by = string.format('%.0f', amount)
  local account = keys.account(tenant)
  redis.call('HINCRBY', account, unit .. ':spent', by)
  redis.call('HINCRBY', account, key .. ':' .. unit .. ':spent', by)
  for span, keptMs in pairs(COUNTED_MS) do
    local spent = keys.spent(tenant, period(ms, span))
    redis.call('HINCRBY', spent, unit, by)
    redis.call('HINCRBY', spent, key .. ':' .. unit, by)
    redis.call('PEXPIRE', spent, string.format('%.0f', keptMs))
  end
end
