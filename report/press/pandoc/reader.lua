-- Reads each chapter with pandoc's markdown, the dialect that Quarto uses, and keeps it in a Div of its own.
local book = pandoc.json.decode(io.open(os.getenv("PRESS_BOOK")):read("a"))

function Reader(sources)
  local blocks = pandoc.Blocks {}
  for index, source in ipairs(sources) do
    local chapter = book.chapters[index]
    local doc = pandoc.read(source.text, "markdown")
    blocks:insert(pandoc.Div(doc.blocks, pandoc.Attr("", { "press-chapter" }, {
      file = chapter.file, folder = chapter.folder, kind = chapter.kind, part = chapter.part,
      depth = tostring(chapter.depth), metadata = next(doc.meta) or "",
    })))
  end
  return pandoc.Pandoc(blocks, pandoc.Meta(book.meta))
end
