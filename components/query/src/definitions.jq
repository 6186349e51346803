# What jq has and jaq's library leaves to its command line.
def _field(text): if . == null then "" elif isstring then text elif isarray or isobject
  then error("a row holds no arrays and objects: \(.)") else tostring end;
def @csv: map(_field("\"\(split("\"") | join("\"\""))\"")) | join(",");
def @tsv: map(_field(split("\\") | join("\\\\") | split("\t") | join("\\t")
  | split("\n") | join("\\n") | split("\r") | join("\\r"))) | join("\t");

def toarray: if isarray then . else [.] end;
def ascii: [.] | implode;
def IN(values): any(values == .; .);
def IN(source; values): any(source == values; .);
def INDEX(rows; key): reduce rows as $row ({}; .[$row | key | tostring] = $row);
def INDEX(key): INDEX(.[]; key);
def tostream: path(def each: (.[]? | each), .; each) as $path | getpath($path)
  | reduce path(.[]?) as $last ([$path, .]; [$path + $last]);
