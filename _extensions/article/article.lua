-- What the layout makes of a book: parts, appendices, set-up boxes,
-- figures in place or in columns, links to files.

local in_part = false

-- What the book says of the file that an element comes from: its bookItemType and bookItemDepth.
local function book_item()
  local metadata = quarto.doc.file_metadata()
  return metadata and metadata.file or {}
end

-- Blocks in a Typst function or scope of their own.
local function within(opening, blocks)
  local all = pandoc.Blocks { pandoc.RawBlock("typst", opening) }
  all:extend(blocks)
  all:insert(pandoc.RawBlock("typst", "]"))
  return all
end

local filter = {
  Header = function(el)
    local item = book_item()
    if el.level ~= 1 or not item.bookItemType then return nil end
    -- A part has no page: its title stands above its first chapter's heading.
    if item.bookItemType == "part" then
      in_part = true
      return pandoc.Plain(pandoc.Inlines { pandoc.RawInline("typst", "#part[") } .. el.content
        .. { pandoc.RawInline("typst", "]") })
    end
    -- The divider that Quarto puts before the appendices becomes a switch of the numbering: an article runs on.
    if item.bookItemType == "appendix" and el.classes:includes("unnumbered") then
      in_part = false
      return pandoc.RawBlock("typst", "#begin-appendices()\n#set figure(placement: none)")
    end
    if in_part and (item.bookItemDepth or 0) == 0 then
      in_part = false
      return { pandoc.RawBlock("typst", "#end-part()"), el }
    end
  end,
  Div = function(el)
    -- A block of its own would part the title from the heading that follows.
    if el.classes:includes("quarto-book-part") then return el.content end
    if el.classes:includes("setup") then return within("#setup[", el.content) end
    -- What belongs to the very step that it follows.
    if el.classes:includes("in-place") then return within("#in-place[", el.content) end
    if el.classes:includes("small-multiples") then return within("#small-multiples[", el.content) end
  end,
  -- A question, all in italics below its heading, stays with the answer, which nothing cuts.
  Blocks = function(blocks)
    local kept = pandoc.Blocks {}
    local asked = false
    for _, block in ipairs(blocks) do
      local answers = asked and block.t == "Para"
      asked = block.t == "Para" and #block.content == 1 and block.content[1].t == "Emph"
      kept:extend((asked or answers) and within(asked and "#question[" or "#answer[", { block }) or { block })
    end
    return kept
  end,
  -- A PDF travels alone: a link to a file beside the site would lead nowhere.
  Link = function(el)
    if not el.target:match("^#") and not el.target:match("^%a[%w+.-]*:") then
      return el.content
    end
  end,
}

return quarto.utils.combineFilters({ quarto.utils.file_metadata_filter(), filter })
