-- Writes the site's pages as JSON: for each chapter its address, title, contents and body.
local book = pandoc.json.decode(io.open(os.getenv("PRESS_BOOK")):read("a"))

local function address(file)
  local path = file:gsub("%.qmd$", ".html")
  return (path:gsub("[^%w%-._~/]", function(byte) return ("%%%02X"):format(byte:byte()) end))
end

-- Where every name in the book is: identifier -> { page = …, head = is it the page's own heading }; and page -> the
-- names that links on it can mean themselves.
local function places(doc)
  local found, own = {}, {}
  for _, div in ipairs(doc.blocks) do
    local page = address(div.attributes.file)
    own[page] = {}
    local function note(id, head)
      if id ~= "" and not found[id] then found[id] = { page = page, head = head } end
      own[page][id] = true
    end
    div:walk {
      Header = function(h) note(h.identifier, h.level == 1) end,
      Div = function(d) note(d.identifier) end,
      Span = function(s) note(s.identifier) end,
      RawBlock = function(r) note(r.text:match('^<%w+ id="([^"]+)"') or r.text:match('^<div class="equation" id="([^"]+)"') or "") end,
    }
  end
  return found, own
end

function Writer(doc, options)
  local where, own = places(doc)
  local pages = {}
  for _, div in ipairs(doc.blocks) do
    local page = address(div.attributes.file)
    local up = page:match("/") and ("../"):rep(select(2, page:gsub("/", ""))) or ""
    local toc, title = {}, nil
    local write = function(list)
      return pandoc.write(pandoc.Pandoc(list), { format = "html", extensions = {} }, options)
    end
    -- A heading's words without links, notes and images, for contents and navigation.
    local function words(h)
      return write { pandoc.Plain(h.content:walk {
        Link = function(a) return a.classes:includes "figure" and {} or a.content end,
        Note = function() return {} end,
      }) }
    end
    local linked = div:walk {
      Link = function(a)
        local id = a.target:match("^#(.+)$")
        local place = id and not own[page][id] and where[id]
        if not place or place.page == page then return nil end
        a.target = up .. place.page .. (place.head and "" or "#" .. id)
        return a
      end,
    }
    linked.content:walk {
      Header = function(h)
        if h.level == 1 then title = h else toc[#toc + 1] = { level = h.level, id = h.identifier, words = words(h) } end
      end,
    }
    -- In one piece, so that notes are numbered through; the title comes first.
    local heading, body = write(linked.content):match("^<h1[^>]*>(.-)</h1>%s*(.*)$")
    pages[#pages + 1] = {
      file = div.attributes.file, address = page, up = up, kind = div.attributes.kind,
      number = div.attributes.number, id = title.identifier, title = div.attributes.title,
      title_html = words(title), heading = heading, body = body, toc = toc,
    }
  end
  local assets = {}
  for _, path in ipairs(doc.meta.assets or {}) do assets[#assets + 1] = pandoc.utils.stringify(path) end
  return pandoc.json.encode { pages = pages, assets = assets }
end
