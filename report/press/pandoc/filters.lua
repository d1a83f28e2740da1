-- Runs the book's own filters on each chapter, as Quarto does before it numbers anything.
local book = pandoc.json.decode(io.open(os.getenv("PRESS_BOOK")):read("a"))

-- What the filters use of Quarto's Lua API.
quarto = { doc = { is_format = function(name) return name == book.format end } }

function Pandoc(doc)
  for index, div in ipairs(doc.blocks) do
    quarto.doc.input_file = pandoc.path.join { book.project, div.attributes.file }
    for _, path in ipairs(book.filters) do
      for _, filter in ipairs(dofile(pandoc.path.join { book.project, path })) do div = div:walk(filter) end
    end
    doc.blocks[index] = div
  end
  return doc
end
