-- Makes one document of the chapters for the PDF, and runs the layout's own filter on it, as Quarto does.
local book = pandoc.json.decode(io.open(os.getenv("PRESS_BOOK")):read("a"))

-- What the filter uses of Quarto's Lua API: the file of the book that an element comes from.
local file
quarto = {
  doc = {
    file_metadata = function() return { file = file } end,
    is_format = function(name) return name == "typst" end,
  },
  utils = {
    file_metadata_filter = function()
      return {
        RawBlock = function(el)
          if el.format ~= "press-file" then return nil end
          file = pandoc.json.decode(el.text, false)
          return {}
        end,
      }
    end,
    combineFilters = function(filters)
      local all = {}
      for _, filter in ipairs(filters) do
        for name, handler in pairs(filter) do all[name] = handler end
      end
      return all
    end,
  },
}

local function book_item(kind, depth)
  return pandoc.RawBlock("press-file", pandoc.json.encode { bookItemType = kind, bookItemDepth = depth })
end

function Pandoc(doc)
  local blocks, appendices = pandoc.Blocks {}, false
  for _, div in ipairs(doc.blocks) do
    if div.attributes.kind == "appendix" and not appendices then
      appendices = true
      -- Quarto begins the appendices with a divider.
      blocks:insert(book_item("appendix", 0))
      blocks:insert(pandoc.Header(1, "Appendices", pandoc.Attr("", { "unnumbered" })))
    end
    if div.attributes.part ~= "" then
      blocks:insert(book_item("part", 0))
      local heading = pandoc.read("# " .. div.attributes.part, "markdown").blocks[1]
      blocks:insert(pandoc.Header(1, heading.content, pandoc.Attr("", { "unnumbered" })))
    end
    blocks:insert(book_item(div.attributes.kind, tonumber(div.attributes.depth)))
    blocks:extend(div.content)
  end
  doc.blocks = blocks
  return doc:walk(dofile(book.filter))
end
