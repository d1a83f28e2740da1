-- What a book's own filter may do: keep numbers with their units, and name the headings of tables.
local function keep(inlines)
  for i = 2, #inlines - 1 do
    local before, after = inlines[i - 1], inlines[i + 1]
    if inlines[i].t == "Space" and before.t == "Str" and before.text:match("%d$") and after.t == "Str"
        and after.text:match("^ms") then
      inlines[i] = pandoc.Str("\u{a0}")
    end
  end
  return inlines
end

local function name_headings(table)
  for _, row in ipairs(table.head.rows) do
    for _, cell in ipairs(row.cells) do cell.attributes.scope = "col" end
  end
  return table
end

local function reserve_place(image)
  if image.src:match("dot%.svg$") and not image.attributes.width then
    image.attributes.width, image.attributes.height, image.attributes.loading = "20", "20", "lazy"
    return image
  end
end

return { { Inlines = keep }, quarto.doc.is_format("html") and { Image = reserve_place, Table = name_headings } or {} }
