-- Numbers figures, tables, equations and sections by chapter, resolves references to them, and writes floats,
-- equations, callouts and code in the way of the output format. What the offline renderer does not know is a problem: all
-- problems are told on stderr, one JSON object a line, and nothing is rendered.
local book = pandoc.json.decode(io.open(os.getenv("PRESS_BOOK")):read("a"))
local html = book.format == "html"

local NAMES = { fig = "Figure", tbl = "Table", eq = "Equation", sec = "Section" }
local FOREIGN = { lst = true, thm = true, lem = true, cor = true, prp = true, cnj = true, def = true, exm = true,
  exr = true, nte = true, tip = true, wrn = true, imp = true, cau = true, apx = true, vid = true }
local ENGINES = { python = true, r = true, julia = true, ojs = true }
local CALLOUTS = { note = "0758E5", tip = "00A047", warning = "EB9113", caution = "FC5300", important = "CC1914" }

local labels = {}      -- label -> { text = number, chapter = …, title = inlines, … }
local anchors = {}     -- any other identifier -> how many chapters have it
local assets = {}      -- files of the project that the site needs: images and linked files
local pending = {}     -- checks that need all labels
local problems = 0
local by_file = {}     -- every chapter by its file
local chapter          -- the chapter being read
local cell             -- the cell whose output is being read, as "file:line", or nil

-- Tells a problem. `tokens` are words that show its line in the source, the surest first; it is the line that has them
-- for the `nth` time, where what is right may have the same words.
local function problem(tokens, message, nth)
  problems = problems + 1
  if type(tokens) == "string" then tokens = { tokens } end
  io.stderr:write("PRESS " .. pandoc.json.encode {
    file = chapter.file, cell = cell or "", tokens = tokens, nth = nth or 1, message = message } .. "\n")
end

-- How often the chapter has had the token, this time included.
local function count(token)
  chapter.seen[token] = (chapter.seen[token] or 0) + 1
  return chapter.seen[token]
end

local function class_tokens(class) return { "." .. class, "::: " .. class, ":::" .. class, class } end

-- What a heading or caption begins with in the source: a mark, then words that may have markup among them.
local function begins(mark, words)
  local first = words[1] and pandoc.utils.stringify(words[1]) or ""
  return { mark .. pandoc.utils.stringify(words), mark .. first, pandoc.utils.stringify(words) }
end

local function is_file(path)
  local file = io.open(path, "rb")
  if not file then return false end
  local _, failed = file:read(1)
  file:close()
  return not failed
end

-- A path of the project without detours; nil where it leads out of it. `/` begins at the project's root.
local function inside(path)
  local parts = {}
  for part in (path:match("^/") and path or chapter.folder .. "/" .. path):gmatch("[^/]+") do
    if part == ".." then
      if #parts == 0 then return nil end
      parts[#parts] = nil
    elseif part ~= "." then
      parts[#parts + 1] = part
    end
  end
  return table.concat(parts, "/")
end

local function quote(path)
  return (path:gsub("[^%w%-._~/]", function(byte) return ("%%%02X"):format(byte:byte()) end))
end

local function unquote(url)
  return (url:gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end))
end

-- A local file named in a chapter: its path in the project, where it is on disk, and its address. What addresses write
-- otherwise, such as # and brackets, may stand in the source as it is.
local function resolve(src)
  for _, name in ipairs { src, unquote(src) } do
    local path = inside(name)
    for _, root in ipairs { book.work, book.project } do
      local place = path and pandoc.path.join { root, path }
      if place and is_file(place) then return path, place, quote(name) end
    end
  end
end

-- The words that name a file in the source, the surest first.
local function source_tokens(src)
  local name = unquote(src)
  return { "](" .. src, "](<" .. name, "(" .. name, src, name }
end

-- A chapter's file as a link names it, relative to the project; nil where the book has no such chapter.
local function chapter_file(src)
  for _, name in ipairs { src, unquote(src) } do
    local path = inside(name)
    if path and by_file[path] then return path end
  end
end

local function typst_string(text)
  return '"' .. text:gsub("\\", "\\\\"):gsub('"', '\\"') .. '"'
end

local function html_text(text)
  return (text:gsub("&", "&amp;"):gsub("<", "&lt;"):gsub(">", "&gt;"):gsub('"', "&quot;"))
end

local function raw(text) return pandoc.RawBlock(book.format, text) end

local function raw_inline(text) return pandoc.RawInline(book.format, text) end

local function only(attributes, allowed, what)
  for key in pairs(attributes) do
    if not allowed[key] then
      problem({ key .. "=", key }, what .. " has the attribute '" .. key .. "', which the offline renderer does not support: take it out")
    end
  end
end

local function classless(el, what)
  for _, class in ipairs(el.classes) do
    problem(class_tokens(class), what .. " of class '" .. class .. "', which would be lost: put it into a div of that class")
  end
end

-- Classes of divs that Quarto gives a meaning of its own; any other class is the book's, for its style sheets.
local RESERVED = {}
for _, name in ipairs { "aside", "cell", "column", "columns", "figure", "fragment", "grid", "hidden", "incremental", "landscape",
  "line-block", "nonincremental", "notes", "proof", "remark", "section", "solution", "theorem", "unlisted", "unnumbered" } do
  RESERVED[name] = true
end
local RESERVED_STARTS = { "callout", "cell-", "column-", "content-", "g-col", "layout", "margin-", "panel-", "press-", "quarto-",
  "tabset" }

local function reserved(class)
  if RESERVED[class] then return true end
  for _, start in ipairs(RESERVED_STARTS) do
    if class:sub(1, #start) == start then return true end
  end
  return false
end

-- The pages' Content-Security-Policy blocks scripts that stand in the page.
local function refuse_inline_script(text)
  local lower = text:lower()
  for attributes in lower:gmatch("<script([^>]*)>") do
    if not attributes:match("%ssrc%s*=") and not attributes:match("json") then
      problem(text:match("<[sS][cC][rR][iI][pP][tT][^>]*>"), "an inline script, which the pages' Content-Security-Policy blocks: ship it as a file "
        .. "that project: resources lists, and load it with <script src=…>")
    end
  end
  local tag, handler = lower:match("(<%a[^>]*%s(on%a+)%s*=)")
  if handler then
    problem({ text:sub(lower:find(tag, 1, true)), text:match("^[^\n]*") }, "the inline handler " .. handler .. "=, which the pages' "
      .. "Content-Security-Policy blocks: add the listener in a script file")
  end
end

-- Labels ---------------------------------------------------------------------------------------------------------

local function register(label, entry)
  if labels[label] then
    problem("#" .. label, "label '" .. label .. "' is given twice: every label is unique in the book")
  end
  entry.chapter = chapter
  labels[label] = entry
end

-- The next number of a kind in this chapter, as "2.3" or "A.1".
local function number(kind, label)
  if not chapter.number then
    problem(label, "'" .. label .. "' stands in an unnumbered chapter and would have no number: move it")
    return "?"
  end
  chapter.counts[kind] = (chapter.counts[kind] or 0) + 1
  return chapter.number .. "." .. chapter.counts[kind]
end

local function kind_of(label)
  local kind = label:match("^(%a+)%-")
  return kind and kind:lower()
end

-- Is this a label that references understand, here or in Quarto?
local function labelled(name)
  local kind = kind_of(name) or ""
  return NAMES[kind] or FOREIGN[kind]
end

-- Notes a name that links may lead to; several chapters may have it. Typst wants every name once in the PDF.
local function anchor(id)
  anchors[id] = (anchors[id] or 0) + 1
  chapter.anchors[id] = true
  return (html or anchors[id] == 1) and id or ""
end

-- Nothing can lead to a name on what the book does not number, or on what only one format would keep.
local function unnamed(el, what)
  if el.identifier == "" then return end
  problem("#" .. el.identifier, "'#" .. el.identifier .. "' names " .. what .. ", which the offline renderer does not support: labels "
    .. "are for figures, tables, equations and sections, any other name for [words]{#name} or a div")
end

-- Mathematics as words, such as α ≤ 5, where markup cannot stand.
local function spoken(math)
  for _, format in ipairs { "plain", "typst" } do
    local text = pandoc.write(pandoc.Pandoc { pandoc.Plain { pandoc.Math("InlineMath", math.text) } }, { format = format })
    text = text:gsub("%s+$", "")
    if format == "typst" or not text:match("^%$") then return pandoc.Str((text:gsub("^%$(.*)%$$", "%1"))) end
  end
end

local function plain_words(content) return pandoc.utils.stringify(content:walk { Math = spoken }) end

-- A title's words for other places: without links, references, notes and images.
local function title_words(content)
  local function nothing() return {} end
  return content:walk { Link = function(a) return a.content end, Cite = nothing, Note = nothing, Image = nothing }
end

-- Inlines --------------------------------------------------------------------------------------------------------

local blocks, inline_content  -- defined below: notes hold blocks, blocks and links hold inlines

local function image(img)
  local tokens = source_tokens(img.src)
  local nth = count(tokens[1])
  only(img.attributes, { ["fig-alt"] = true, width = true, height = html, loading = html }, "image " .. img.src)
  classless(img, "image " .. img.src)
  if img.title ~= "" then problem(img.title, "image " .. img.src .. " has a title beside its words: take it out") end
  if img.identifier ~= "" then
    problem("#" .. img.identifier, "'" .. img.identifier .. "' labels an image without a caption or within a sentence: a figure is a paragraph of "
      .. "its own, ![Caption](file){#fig-… fig-alt=\"…\"}")
  end
  if img.src:match("^%a[%w+.-]+:") then
    problem(tokens, "image " .. img.src .. " is not a file of the project: the book asks no other host", nth)
    return img
  end
  local path, place, address = resolve(img.src)
  if not path then
    problem(tokens, "image " .. img.src .. " does not exist (paths are relative to the chapter)", nth)
    return img
  end
  local alt = img.attributes["fig-alt"]
  if not alt or alt == "" then
    problem(tokens, "image " .. img.src .. " has no words for those who cannot see it: add {fig-alt=\"…\"}", nth)
    return img
  end
  assets[path] = true
  local width = img.attributes.width
  -- A filter of the book gives the site's images their size in pixels.
  local height, loading = img.attributes.height, img.attributes.loading
  local in_pixels = html and width and height and (width .. height):match("^%d+$")
  if width and not in_pixels and not width:match("^%d+%.?%d*%%$") then
    problem(tokens, "image width " .. width .. ": give it in per cent of the line", nth)
  end
  if html then
    local size = width and (' style="width: ' .. width .. '"') or ""
    if in_pixels then size = ' width="' .. width .. '" height="' .. height .. '"' end
    if loading then size = size .. ' loading="' .. html_text(loading) .. '"' end
    local picture = raw_inline('<img src="' .. address .. '" alt="' .. html_text(alt) .. '"' .. size .. ">")
    -- A tap on a phone opens the figure by itself, to be enlarged.
    return pandoc.Link({ picture }, address, "", pandoc.Attr("", { "figure" })), false
  end
  local size = width and (", width: " .. width) or ""
  local root = pandoc.path.make_relative(place, book.project)
  return raw_inline("#box(image(" .. typst_string("/" .. root) .. ", alt: " .. typst_string(alt) .. size .. "))")
end

-- A link to another chapter's file: on the site to its page, in the PDF the layout keeps the words alone.
local function chapter_link(a, file, name)
  local target, path = a.target, chapter_file(file)
  if not path then
    problem(target, "link to " .. target .. ": not a chapter of the book (paths are relative to the chapter)")
    return nil
  end
  if name ~= "" then
    pending[#pending + 1] = { chapter = chapter, cell = cell, token = target, check = function()
      local entry = labels[name]
      if entry and entry.chapter.file == path or by_file[path].anchors[name] then return end
      return "link to " .. target .. ": that chapter has nothing of the name " .. name
    end }
  end
  if html then
    local up = ("../"):rep(chapter.folder == "" and 0 or select(2, chapter.folder:gsub("/", "")) + 1)
    a.target = up .. quote(path:gsub("%.qmd$", "")) .. ".html" .. (name ~= "" and "#" .. name or "")
    return a
  end
end

-- Where a link leads. The target's file and name part at the first # that leaves a file of the book.
local function follow(a)
  local target = a.target
  if target:match("^https?://") or target:match("^mailto:") then return a end
  local name = target:match("^#(.+)$")
  if name then
    name = unquote(name)
    pending[#pending + 1] = { chapter = chapter, cell = cell, token = target, check = function()
      if labels[name] then return end
      if (anchors[name] or 0) == 0 then return "link to " .. target .. ": nothing in the book has that name" end
      if anchors[name] > 1 and not (html and chapter.anchors[name]) then
        return "link to " .. target .. ": several chapters have that name; give the one you mean a label {#sec-…}"
      end
    end }
    return a
  end
  local file, fragment = target:match("^(.-%.qmd)#?(.*)$")
  if file and not target:match("^%a[%w+.-]*:") then return chapter_link(a, file, fragment) or a end
  local path, _, address = nil, nil, nil
  if not target:match("^%a[%w+.-]*:") then path, _, address = resolve(target) end
  if path then
    assets[path] = true
    a.target = address
  else
    problem(source_tokens(target), "link to " .. target .. ": no such file (paths are relative to the chapter)")
  end
  return a
end

-- A note inside a link would be a link in a link: it comes after it.
local function link(a)
  unnamed(a, "a link")
  local notes = pandoc.Inlines {}
  a.content = a.content:walk { Note = function(note) notes:insert(note) return {} end }
  a = follow(a)
  a.content = inline_content(a.content)
  return pandoc.Inlines { a } .. inline_content(notes), false
end

local function cite(c)
  local crossrefs = 0
  for _, item in ipairs(c.citations) do
    local kind, token = kind_of(item.id), "@" .. item.id
    local nth = count(token)
    if NAMES[kind or ""] then
      crossrefs = crossrefs + 1
      local label = item.id:sub(1, 1):lower() .. item.id:sub(2)
      if #item.prefix > 0 or #item.suffix > 0 then
        problem(token, "words inside the brackets of a reference to " .. label .. ": write them outside", nth)
      end
      pending[#pending + 1] = { chapter = chapter, cell = cell, token = token, nth = nth, check = function()
        local entry = labels[label]
        if not entry then return "reference to @" .. item.id .. ": nothing in the book has that label" end
        if kind == "sec" and not entry.text then
          return "reference to @" .. item.id .. ", which has no number: write [words](#" .. label .. ")"
        end
      end }
    elseif FOREIGN[kind or ""] then
      problem(token, "reference to @" .. item.id .. ": the offline renderer numbers fig-, tbl-, eq- and sec- only")
    elseif not book.references[item.id] then
      problem(token, "citation of @" .. item.id .. ", which is not in the bibliography")
    end
  end
  if crossrefs > 0 and crossrefs < #c.citations then
    local first = "@" .. c.citations[1].id
    problem(first, "references and citations in one pair of brackets: cut them in two", chapter.seen[first])
  end
end

local function conditional(el)
  local visible, hidden = el.classes:includes "content-visible", el.classes:includes "content-hidden"
  if not visible and not hidden then return nil end
  only(el.attributes, { ["when-format"] = true }, "conditional content")
  unnamed(el, "conditional content")
  for _, class in ipairs(el.classes) do
    if not class:match("^content%-") then
      problem(class_tokens(class), "conditional content of class '" .. class .. "': put a div of that class inside")
    end
  end
  local format, token = el.attributes["when-format"], "content-" .. (visible and "visible" or "hidden")
  local nth = count(token)
  if format ~= "html" and format ~= "typst" then
    problem(token, "conditional content needs when-format=\"html\" or \"typst\"", nth)
  end
  return (format == book.format) == visible
end

local function is_comment(text) return not text:gsub("<!%-%-.-%-%->", ""):match("%S") end

local inline_filter = {
  traverse = "topdown",
  Span = function(span)
    local show = conditional(span)
    if show == true then return span.content end
    if show == false then return {}, false end
    if span.classes:includes "content-visible" then return nil end
    for _, class in ipairs(span.classes) do
      if class ~= "math" then problem(class_tokens(class), "span of class '" .. class .. "', which the offline renderer does not support") end
    end
    only(span.attributes, {}, "a span")
    if labelled(span.identifier) then unnamed(span, "words") elseif span.identifier ~= "" then anchor(span.identifier) end
  end,
  Image = image,
  Link = link,
  Cite = cite,
  Note = function(note)
    note.content = blocks(note.content)
    return note, false
  end,
  Code = function(code)
    unnamed(code, "code")
    local escaped, engine = code.text:match("^{{+%a+}+}"), code.text:match("^{(%a+)}%s")
    local mark = escaped or engine and ENGINES[engine:lower()] and "{" .. engine .. "}"
    if mark then
      problem({ "`" .. code.text, mark }, "code that begins with " .. mark .. " is not computed here: cells are ```{python} at the margin, "
        .. "expressions `{python} …`, and the offline renderer knows no other engine and no {{python}}", count(mark))
    end
  end,
  Str = function(str)
    if str.text:match("{#%a") then
      problem(str.text, "label " .. str.text .. " belongs to nothing: the offline renderer knows it after an equation $$ … $$, "
        .. "an image, a table's caption or a heading")
    end
  end,
  RawInline = function(el)
    if el.format == book.format then
      if html then refuse_inline_script(el.text) end
      return nil
    end
    if el.format == "html" and is_comment(el.text) then return {} end
    problem(el.text, "raw " .. el.format .. " (" .. el.text .. ") would be lost in one of the formats: write markdown")
  end,
}

local function inlines(block) return block:walk(inline_filter) end

inline_content = function(content) return inlines(pandoc.Plain(content)).content end

-- What holds blocks or lines of its own: lists, quotations, tables.
local function container(block)
  return block:walk {
    traverse = "topdown",
    Blocks = function(list) return blocks(list), false end,
    Inlines = function(list) return inline_content(list), false end,
  }
end

-- Blocks ---------------------------------------------------------------------------------------------------------

local function float(kind, label, content, caption)
  local n = number(kind, label)
  register(label, { text = n })
  local name = NAMES[kind]
  caption = inline_content(caption)
  local out = pandoc.Blocks {}
  if html then
    local prefix = pandoc.Inlines { pandoc.Str(name .. "\u{a0}" .. n .. ":"), pandoc.Space() }
    local words = pandoc.Plain(pandoc.Inlines { pandoc.Span(prefix, pandoc.Attr("", { "float-number" })) } .. caption)
    local open = '<figure id="' .. html_text(label) .. '" class="float float-' .. kind .. '">'
    if kind == "tbl" then
      out:insert(raw(open .. '<figcaption>'))
      out:insert(words)
      out:insert(raw("</figcaption>"))
      out:extend(content)
    else
      out:insert(raw(open))
      out:extend(content)
      out:insert(raw("<figcaption>"))
      out:insert(words)
      out:insert(raw("</figcaption>"))
    end
    out:insert(raw("</figure>"))
  else
    local position = kind == "tbl" and "top" or "bottom"
    out:insert(raw("#figure(["))
    out:extend(content)
    out:insert(raw("], caption: figure.caption(position: " .. position .. ", ["))
    out:insert(pandoc.Plain(caption))
    out:insert(raw('], ), kind: "quarto-float-' .. kind .. '", supplement: "' .. name .. '", )\n<' .. label .. ">"))
  end
  return out
end

local function column_widths(tbl, attribute, label)
  if not attribute then return end
  local widths, sum = {}, 0
  for width in attribute:gmatch("[%d.]+") do
    widths[#widths + 1] = tonumber(width)
    sum = sum + tonumber(width)
  end
  if #widths ~= #tbl.colspecs then
    problem(label, "table " .. label .. " has " .. #tbl.colspecs .. " columns, but tbl-colwidths has " .. #widths)
    return
  end
  for index, width in ipairs(widths) do tbl.colspecs[index] = { tbl.colspecs[index][1], width / sum } end
end

-- A table by itself: scrolls in its own box on the site, is no figure of pandoc's in the PDF.
local function bare_table(tbl)
  tbl.caption = pandoc.Caption {}
  tbl.identifier = ""
  tbl.attributes = {}
  if html then
    tbl.classes = {}
    return pandoc.Blocks { raw('<div class="table-scroll">'), tbl, raw("</div>") }
  end
  tbl.classes = { "typst:no-figure" }
  return pandoc.Blocks { tbl }
end

local function tabular(tbl)
  local label, caption = tbl.identifier, pandoc.utils.blocks_to_inlines(tbl.caption.long)
  only(tbl.attributes, { ["tbl-colwidths"] = true, quarto = true }, "a table")
  classless(tbl, "a table")
  column_widths(tbl, tbl.attributes["tbl-colwidths"], label)
  tbl.caption = pandoc.Caption {}
  tbl = container(tbl)
  if #caption == 0 and label == "" then return bare_table(tbl) end
  if kind_of(label) ~= "tbl" or #caption == 0 then
    problem(label ~= "" and label or begins(": ", caption),
      "a table with a caption needs a label, and the other way round: ': Caption {#tbl-…}'")
    return bare_table(tbl)
  end
  return float("tbl", label, bare_table(tbl), caption)
end

-- The table in a cell's HTML output, a data frame, with the words around it, such as its size.
local function html_table(text)
  local found
  -- pandas' own style sheet, and an empty one of a Styler.
  text = text:gsub("<style scoped>.-</style>", ""):gsub("<style[^>]*>%s*</style>", "")
  local out = pandoc.read(text, "html-native_divs+raw_html").blocks:filter(function(block)
    return not (block.t == "RawBlock" and block.text:match("^</?div[^>]*>$"))
  end)
  for _, block in ipairs(out) do
    local words = block.t == "Para" or block.t == "Plain"
    if block.t == "Table" and not found then
      found = block
    elseif not words then
      found = nil
      break
    end
  end
  if not found then
    problem("", "the cell shows HTML that is not one table: the offline renderer knows tables only")
    return pandoc.Blocks {}
  end
  found.attr = pandoc.Attr()
  for index, spec in ipairs(found.colspecs) do
    local numbers = true
    for _, body in ipairs(found.bodies) do
      for _, row in ipairs(body.body) do
        local text = row.cells[index] and pandoc.utils.stringify(row.cells[index].contents) or ""
        numbers = numbers and text:match("^[-−+]?[%d.,]*[%d%%]?e?[-+]?%d*$") ~= nil
      end
    end
    found.colspecs[index] = { (numbers and index > 1) and "AlignRight" or "AlignLeft", spec[2] }
  end
  for _, row in ipairs(found.head.rows) do row.attr = pandoc.Attr() end
  return out
end

-- The one image or table of a figure or table, and the words that came with a data frame.
local function only_child(list, kind)
  local flat, beside = pandoc.Blocks {}, pandoc.Blocks {}
  local function flatten(items)
    for _, block in ipairs(items) do
      if block.t == "Div" and block.classes:includes "press-cell" then
        cell = block.attributes.file .. ":" .. block.attributes.line
        flatten(block.content)
      elseif block.t == "RawBlock" and block.format == "press-html" then
        for _, part in ipairs(html_table(block.text)) do (part.t == "Table" and flat or beside):insert(part) end
      else
        flat:insert(block)
      end
    end
  end
  flatten(list)
  if #flat ~= 1 then return nil end
  if kind == "tbl" then return flat[1].t == "Table" and flat[1] or nil, beside end
  local is_image = (flat[1].t == "Para" or flat[1].t == "Plain") and #flat[1].content == 1
    and flat[1].content[1].t == "Image"
  return is_image and flat[1] or nil
end

local function float_div(div)
  local kind, label = kind_of(div.identifier), div.identifier
  only(div.attributes, { ["tbl-colwidths"] = true }, "figure or table " .. label)
  classless(div, "figure or table " .. label)
  local content = div.content:clone()
  local last = content:remove()
  local child, beside
  if last and last.t == "Para" then child, beside = only_child(content, kind) end
  if not child then
    local thing = kind == "fig" and "one image" or "one table"
    problem(label, "'" .. label .. "' should hold " .. thing .. " and, as its last paragraph, the caption")
    return {}
  end
  local first = last.content[1]
  if first.t == "Span" and first.classes:includes "press-caption" then last.content:remove(1) end
  if kind == "tbl" then
    column_widths(child, div.attributes["tbl-colwidths"], label)
    return float(kind, label, bare_table(container(child)) .. blocks(beside), last.content)
  end
  return float(kind, label, pandoc.Blocks { pandoc.Plain(inlines(child).content) }, last.content)
end

local function figure(fig)
  local label = fig.identifier
  local img = fig.content[1].content[1]
  if kind_of(label) ~= "fig" then
    local token = "](" .. img.src
    problem(token, "a figure with a caption needs a label: ![Caption](file){#fig-… fig-alt=\"…\"}", count(token))
    return {}
  end
  img.caption = {}
  img.identifier = ""
  local content = pandoc.Blocks { inlines(pandoc.Plain { img }) }
  return float("fig", label, content, pandoc.utils.blocks_to_inlines(fig.caption.long))
end

-- The name that a heading has when none is given.
local function own_name(title) return pandoc.read("# " .. title, "markdown").blocks[1].identifier end

local function header(h)
  local unnumbered = h.classes:includes "unnumbered"
  for _, class in ipairs(h.classes) do
    if class ~= "unnumbered" then problem(class_tokens(class), "heading of class '" .. class .. "': only .unnumbered is known") end
  end
  only(h.attributes, {}, "a heading")
  local title, tokens = plain_words(title_words(h.content)), begins("# ", h.content)
  if h.level == 1 then
    if chapter.title then
      problem(tokens, "a second '# ' heading: one chapter a file")
      return {}
    end
    chapter.title = title
    if not unnumbered then
      local kind = chapter.kind
      if kind == "index" then problem(tokens, "the first page is not numbered: '# " .. title .. " {.unnumbered}'") end
      book.counts[kind] = (book.counts[kind] or 0) + 1
      chapter.number = kind == "appendix" and string.char(64 + book.counts[kind]) or tostring(book.counts[kind])
    elseif chapter.kind == "appendix" then
      problem(tokens, "an appendix without a number: take {.unnumbered} out, or make it a chapter")
    end
    chapter.sections = {}
    register(h.identifier, { text = chapter.number, head = true, title = title_words(h.content) })
    return pandoc.Blocks { inlines(h) }
  end
  local text
  if unnumbered then
    chapter.silent = math.min(chapter.silent or 9, h.level)
  else
    if chapter.silent and h.level <= chapter.silent then chapter.silent = nil end
    if not chapter.number or chapter.silent then
      problem(tokens, "a numbered heading below an unnumbered one: add {.unnumbered} to '" .. title .. "'")
    end
    for level = 2, h.level - 1 do chapter.sections[level] = chapter.sections[level] or 0 end
    for level = h.level + 1, 6 do chapter.sections[level] = nil end
    chapter.sections[h.level] = (chapter.sections[h.level] or 0) + 1
    text = (chapter.number or "?") .. "." .. table.concat(chapter.sections, ".", 2, h.level)
  end
  if labelled(h.identifier) and kind_of(h.identifier) ~= "sec" and h.identifier ~= own_name(title) then
    problem("#" .. h.identifier, "'#" .. h.identifier .. "' names a heading: its label begins with sec-")
  end
  if kind_of(h.identifier) == "sec" then
    register(h.identifier, { text = text, title = title_words(h.content) })
  else
    h.identifier = anchor(h.identifier)
  end
  h = inlines(h)
  if html and text then
    h.content = pandoc.Inlines { pandoc.Span(text, pandoc.Attr("", { "section-number" })), pandoc.Space() } .. h.content
  end
  return pandoc.Blocks { h }
end

-- Would markdown take it for the name of a figure, too?
local function is_name(label)
  local read = pandoc.read("[]{#" .. label .. "}", "markdown").blocks[1]
  return read and read.t == "Para" and #read.content == 1 and read.content[1].identifier == label
end

local function equation(math, label)
  local n = number("eq", label)
  register(label, { text = n })
  if html then
    return pandoc.Blocks { raw('<div class="equation" id="' .. html_text(label) .. '"><div class="equation-body">'),
      pandoc.Plain { math }, raw('</div><span class="equation-number">(' .. n .. ")</span></div>") }
  end
  return pandoc.Blocks { pandoc.Plain { raw_inline("#math.equation(block: true, numbering: equation-numbering, ["),
    math, raw_inline("])<" .. label .. ">") } }
end

-- Cuts a paragraph at its numbered equations, `$$ … $$ {#eq-…}`.
local function paragraph(para)
  local out, rest = pandoc.Blocks {}, pandoc.Inlines {}
  local function flush()
    while #rest > 0 and (rest[1].t == "Space" or rest[1].t == "SoftBreak") do rest:remove(1) end
    while #rest > 0 and (rest[#rest].t == "Space" or rest[#rest].t == "SoftBreak") do rest:remove() end
    if #rest > 0 then out:insert(inlines(pandoc[para.t](rest))) end
    rest = pandoc.Inlines {}
  end
  local index = 1
  while index <= #para.content do
    local item, after = para.content[index], index + 1
    if item.t == "Math" and item.mathtype == "DisplayMath" then
      while para.content[after] and (para.content[after].t == "Space" or para.content[after].t == "SoftBreak") do
        after = after + 1
      end
      local label = para.content[after] and para.content[after].t == "Str" and para.content[after].text:match("^{#(eq%-[^{}]+)}$")
      if label and is_name(label) then
        flush()
        out:extend(equation(item, label))
        index = after
      else
        rest:insert(item)
      end
    else
      rest:insert(item)
    end
    index = index + 1
  end
  flush()
  return out
end

local function code(block)
  only(block.attributes, { fold = true }, "a code block")
  unnamed(block, "a code block")
  local escaped = block.text:match("```+%s*{{+%a+}+}") or block.text:match("`{{+%a+}+}%s")
  if escaped then problem(escaped, "code with " .. escaped .. ", which Quarto shows in braces of one pair: the offline renderer does not") end
  local file, line = block.text:match('{%.press%-cell file="(.-)" line="(%d+)"}')
  if file then
    local outer = cell
    cell = file .. ":" .. line
    problem("", "a cell within a code block: show it between more backticks than it has, or move it out")
    cell = outer
  end
  if #block.classes > 1 then
    problem(class_tokens(block.classes[2]), "code block of class '" .. block.classes[2] .. "': only a language is known")
  end
  local fold = block.attributes.fold
  block.attributes = {}
  if not html then
    if block.classes[1] == "output" then block.classes = {} end
    return pandoc.Blocks { block }
  end
  if not fold then return pandoc.Blocks { block } end
  return pandoc.Blocks { raw('<details class="code-fold"><summary>' .. html_text(fold) .. "</summary>"), block,
    raw("</details>") }
end

local function callout(div, class)
  local kind = class:match("^callout%-(.*)$")
  if not CALLOUTS[kind] then
    problem(class_tokens(class), "callout of kind '" .. kind .. "': the offline renderer knows note, tip, warning, caution and important")
    return {}
  end
  only(div.attributes, {}, "a callout")
  if div.identifier ~= "" then problem(div.identifier, "a callout with a label: the offline renderer does not number callouts") end
  local content, name = div.content:clone(), kind:sub(1, 1):upper() .. kind:sub(2)
  local title = pandoc.Inlines { pandoc.Str(name) }
  local titled = content[1] and content[1].t == "Header"
  if titled then title = inlines(pandoc.Plain(content:remove(1).content)).content end
  local body = blocks(content)
  local out = pandoc.Blocks {}
  if html then
    out:insert(raw('<aside class="callout callout-' .. kind .. '"><div class="callout-title-container">'))
    local spoken = titled and { pandoc.Span(name, pandoc.Attr("", { "screen-reader-only" })), pandoc.Space() } or {}
    out:insert(pandoc.Plain(pandoc.Inlines(spoken) .. title))
    out:insert(raw('</div><div class="callout-body">'))
    out:extend(body)
    out:insert(raw("</div></aside>"))
  else
    out:insert(raw("#callout(title: ["))
    out:insert(pandoc.Plain(title))
    out:insert(raw('], icon_color: rgb("#' .. CALLOUTS[kind] .. '"), body: ['))
    out:extend(body)
    out:insert(raw("])"))
  end
  return out
end

local function division(div)
  if div.classes:includes "press-cell" then
    local outer = cell
    cell = div.attributes.file .. ":" .. div.attributes.line
    local content = blocks(div.content)
    cell = outer
    return content
  end
  local show = conditional(div)
  if show ~= nil then return show and blocks(div.content) or {} end
  if div.classes:includes "content-visible" or div.classes:includes "content-hidden" then return {} end
  local kind = kind_of(div.identifier)
  if kind == "fig" or kind == "tbl" then return float_div(div) end
  local class = div.classes[1]
  if class and class:match("^callout%-") and #div.classes == 1 then return callout(div, class) end
  only(div.attributes, {}, "a div")
  for _, name in ipairs(div.classes) do
    if reserved(name) then
      problem(class_tokens(name), "a div with '" .. name .. "', which has a meaning of its own in Quarto that the offline renderer "
        .. "does not support: take it out, or name a class of the book's own style sheet otherwise")
    end
  end
  if div.identifier == "refs" and not class then
    book.refs = true
  elseif NAMES[kind or ""] or FOREIGN[kind or ""] then
    problem(div.identifier, "a div with '" .. div.identifier .. "', which the offline renderer does not support: it numbers divs "
      .. "#fig-… and #tbl-… only")
  elseif div.identifier ~= "" then
    div.identifier = anchor(div.identifier)
  end
  div.content = blocks(div.content)
  return pandoc.Blocks { div }
end

local function raw_block(el)
  if el.format == "press-html" then return blocks(html_table(el.text)) end
  if el.format == book.format then
    if html then refuse_inline_script(el.text) end
    return pandoc.Blocks { el }
  end
  if el.format == "html" and is_comment(el.text) then return {} end
  problem(el.text:match("^[^\n]*"), "raw " .. el.format .. " would be lost in one of the formats: write markdown, or put "
    .. "it into a div .content-visible when-format=\"…\"")
  return {}
end

local function each(block) return pandoc.Blocks { container(block) } end

local handlers = {
  Div = division, Header = header, Figure = figure, Table = tabular, Para = paragraph, Plain = paragraph,
  CodeBlock = code, RawBlock = raw_block,
  BlockQuote = each, BulletList = each, OrderedList = each, DefinitionList = each, LineBlock = each,
  HorizontalRule = function(b) return pandoc.Blocks { b } end,
}

blocks = function(list)
  local out = pandoc.Blocks {}
  for _, block in ipairs(list) do
    if not chapter.title and block.t ~= "Header" then
      problem("", "the chapter should begin with its title: '# Title {#sec-…}'")
      chapter.title = ""
    end
    out:extend(handlers[block.t](block))
  end
  return out
end

-- References -----------------------------------------------------------------------------------------------------

local function reference(item, label)
  local entry, kind = labels[label], kind_of(label)
  local name = kind == "sec" and entry.head and (entry.chapter.kind == "appendix" and "Appendix" or "Chapter") or NAMES[kind]
  local bare = item.mode == "SuppressAuthor"
  if not html then
    return raw_inline("#ref(<" .. label .. ">, supplement: [" .. (bare and "" or name) .. "])")
  end
  local text = bare and entry.text or (name .. "\u{a0}" .. entry.text)
  -- On a page without a number Quarto names sections by their titles.
  if kind == "sec" and not chapter.number then
    text = pandoc.Inlines(entry.title)
    if entry.head then
      text:insert(1, pandoc.Str(name == "Appendix" and "Appendix " .. entry.text .. " — " or entry.text .. "\u{a0} "))
    end
  end
  return pandoc.Link(text, "#" .. label, "", pandoc.Attr("", { "quarto-xref" }))
end

local function resolve_references(c)
  if not NAMES[kind_of(c.citations[1].id) or ""] then return nil end
  local out = pandoc.Inlines {}
  for index, item in ipairs(c.citations) do
    if index > 1 then out:extend { pandoc.Str(","), pandoc.Space() } end
    out:insert(reference(item, item.id:sub(1, 1):lower() .. item.id:sub(2)))
  end
  return out
end

function Pandoc(doc)
  book.counts, book.references = {}, {}
  for _, entry in ipairs(pandoc.utils.references(doc)) do book.references[entry.id] = true end
  local chapters = {}
  for index, div in ipairs(doc.blocks) do
    chapters[index] = { file = div.attributes.file, folder = div.attributes.folder, kind = div.attributes.kind,
      counts = {}, anchors = {}, seen = {} }
    by_file[div.attributes.file] = chapters[index]
  end
  for index, div in ipairs(doc.blocks) do
    chapter = chapters[index]
    local key = div.attributes.metadata
    if key ~= "" then problem({ key .. ":", "% " }, "metadata ('" .. key .. "') in a chapter: settings belong in _quarto.yml") end
    div.content = blocks(div.content)
    div.attributes.title = chapter.title
    div.attributes.number = chapter.number
  end
  for _, later in ipairs(pending) do
    chapter, cell = later.chapter, later.cell
    local message = later.check()
    if message then problem(later.token, message, later.nth) end
  end
  if next(book.references) and not book.refs then
    problem("", "there are citations, but no div {#refs} for the bibliography: give it a chapter of its own")
  end
  if problems > 0 then error("problems in the book") end
  for index, div in ipairs(doc.blocks) do
    chapter = chapters[index]
    doc.blocks[index] = div:walk { Cite = resolve_references }
  end
  local files = {}
  for path in pairs(assets) do files[#files + 1] = path end
  table.sort(files)
  doc.meta.assets = pandoc.MetaList(files)
  return doc
end
