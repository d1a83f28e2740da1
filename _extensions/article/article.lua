-- What the layout makes of the book's own parts: where the appendices begin, provenance lines, links to files.

local function item_type()
  local metadata = quarto.doc.file_metadata()
  return metadata and metadata.file and metadata.file.bookItemType
end

local filter = {
  -- The divider that Quarto puts before the appendices becomes a switch of the numbering: an article runs on.
  Header = function(el)
    if el.level == 1 and item_type() == "appendix" and el.classes:includes("unnumbered") then
      return pandoc.RawBlock("typst", "#begin-appendices()")
    end
  end,
  Div = function(el)
    if el.classes:includes("provenance") then
      local blocks = pandoc.Blocks { pandoc.RawBlock("typst", "#provenance[") }
      blocks:extend(el.content)
      blocks:insert(pandoc.RawBlock("typst", "]"))
      return blocks
    end
  end,
  -- A PDF travels alone: a link to a file beside the site would lead nowhere.
  Link = function(el)
    if not el.target:match("^#") and not el.target:match("^%a[%w+.-]*:") then
      return el.content
    end
  end,
}

return quarto.utils.combineFilters({ quarto.utils.file_metadata_filter(), filter })
