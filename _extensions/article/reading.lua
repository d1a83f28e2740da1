-- What both formats need for reading: numbers keep their units, and the site's images and tables say what they are.

local html = quarto.doc.is_format("html")

-- Words that belong to the number before them.
local UNITS = {}
for _, unit in ipairs { "%", "s", "ms", "min", "h", "kB", "KB", "MB", "GB", "GiB", "Hz", "GHz",
  "second", "seconds", "minute", "minutes", "hour", "hours", "point", "points", "percent",
  "epoch", "epochs", "update", "updates", "seed", "seeds", "run", "runs", "weight", "weights", "example", "examples" } do
  UNITS[unit] = true
end

local function ends_in_number(inline)
  return inline.t == "Math" or inline.t == "Str" and inline.text:match("%d[%)%]]?$") ~= nil
end

local function begins_with_number(inline)
  return inline.t == "Math" or inline.t == "Str" and inline.text:match("^%d") ~= nil
end

local function is_unit(inline)
  return inline.t == "Str" and UNITS[inline.text:match("^%%") or inline.text:match("^(%a+)[%p]*$") or ""]
end

local function is_sign(inline)
  return inline.t == "Str" and (inline.text == "±" or inline.text == "×")
end

local function keep_units(inlines)
  for i = 2, #inlines - 1 do
    local before, after = inlines[i - 1], inlines[i + 1]
    if inlines[i].t == "Space" or inlines[i].t == "SoftBreak" then
      if ends_in_number(before) and (is_unit(after) or is_sign(after)) or is_sign(before) and begins_with_number(after) then
        inlines[i] = pandoc.Str("\u{a0}")
      end
    end
  end
  return inlines
end

-- Browsers break a line between a formula and the comma after it.
local function keep_punctuation(inlines)
  for i = #inlines - 1, 1, -1 do
    local formula, after = inlines[i], inlines[i + 1]
    local marks = formula.t == "Math" and formula.mathtype == "InlineMath" and after.t == "Str"
      and after.text:match("^[.,;:!?)%]]+")
    if marks then
      inlines[i] = pandoc.Span({ formula, pandoc.Str(marks) }, { class = "math" })
      after.text = after.text:sub(#marks + 1)
      if after.text == "" then inlines:remove(i + 1) end
    end
  end
  return inlines
end

-- The size in pixels that an SVG file gives itself.
local function svg_size(src)
  local folder = pandoc.path.directory(quarto.doc.input_file)
  local file = src:match("%.svg$") and io.open(pandoc.path.join { folder, src }, "r")
  if not file then return nil end
  local tag = (file:read(2000) or ""):match("<svg[^>]*>") or ""
  file:close()
  local width, height = tag:match('%swidth="([%d.]+)pt"'), tag:match('%sheight="([%d.]+)pt"')
  if width and height then
    return ("%.0f"):format(width * 4 / 3), ("%.0f"):format(height * 4 / 3)
  end
end

-- With its size, an image keeps its place while it loads, and links into the page land where they should.
local function reserve_place(image)
  if image.attributes.width or image.attributes.height then return nil end
  local width, height = svg_size(image.src)
  if width then
    image.attributes.width, image.attributes.height = width, height
    image.attributes.loading = "lazy"
    return image
  end
end

-- Which cells a heading heads.
local function name_headings(table)
  for _, row in ipairs(table.head.rows) do
    for _, cell in ipairs(row.cells) do cell.attributes.scope = "col" end
  end
  for _, body in ipairs(table.bodies) do
    for _, row in ipairs(body.body) do
      for column = 1, body.row_head_columns do row.cells[column].attributes.scope = "row" end
    end
  end
  return table
end

local function keep_together(inlines)
  keep_units(inlines)
  return html and keep_punctuation(inlines) or inlines
end

return {
  html and { Inlines = keep_together, Image = reserve_place, Table = name_headings } or { Inlines = keep_together },
}
