-- Health of an MCPProviderGroup: what its conditions say, in Argo CD's words.
-- In: obj, as the API server has it. Out: a table with status and message. No library is opened: none is needed.
-- Routable is not looked at: it says whether something carries traffic to the group, not whether the group is well.

local generation = obj.metadata.generation
local status = obj.status or {}

-- What was observed at another generation says nothing about this one.
local function condition(name)
  for _, found in ipairs(status.conditions or {}) do
    local observed = found.observedGeneration
    if found.type == name and (observed == nil or observed == generation) then
      return found
    end
  end
  return {}
end

local function answer(health, found, fallback)
  local message = found.message
  if message == nil or message == "" then
    message = found.reason
  end
  if message == nil or message == "" then
    message = fallback
  end
  return { status = health, message = message }
end

if obj.metadata.deletionTimestamp ~= nil then
  return answer("Progressing", {}, "is being deleted")
end
if status.observedGeneration ~= nil and status.observedGeneration ~= generation then
  return answer("Progressing", {}, "the operator has not seen this generation yet")
end

local ready = condition("Ready")
local stalled = condition("Stalled")
local reconciling = condition("Reconciling")

if stalled.status == "True" then
  return answer("Degraded", stalled, "will not mend by itself")
end
if reconciling.status == "True" then
  return answer("Progressing", reconciling, "members are starting")
end
if ready.status == "True" then
  return answer("Healthy", ready, "enough members are available")
end
if ready.status == "False" then
  return answer("Degraded", ready, "too few members are available")
end
return answer("Progressing", ready, "the operator has not reported yet")
