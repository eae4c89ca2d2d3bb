//! The document as a page for humans: no scripts, nothing from elsewhere, so that it shows inside a closed network, too.
//!
//! Must not know routes. Invariant: all text of the document is escaped.

use std::fmt::Write;

use serde_json::Value;
use utoipa::openapi::OpenApi;

const HEAD: &str = "<!doctype html>
<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">
<title>Strandline</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56em; margin: 2em auto; padding: 0 1em; color: #222; background: #fff }
code, pre { font: 14px/1.5 ui-monospace, monospace; background: #f3f3f0; border-radius: 4px; padding: .1em .3em }
pre { padding: .7em 1em; overflow-x: auto }
details { border: 1px solid #ddd; border-radius: 6px; margin: .5em 0; padding: .5em 1em }
summary { cursor: pointer }
summary b { display: inline-block; width: 4.5em }
table { border-collapse: collapse; width: 100% }
td { vertical-align: top; padding: .2em 1em .2em 0; border-top: 1px solid #eee }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #161616 } code, pre { background: #262626 } details, td { border-color: #333 } a { color: #8bf } }
</style></head><body>
<h1>Strandline</h1>
";

const EXAMPLES: &str = "<pre>curl localhost:9080/v1/topics --json '{\"name\": \"views\"}'
curl localhost:9080/v1/topics/views/records --json '[{\"key\": \"ada\", \"value\": {\"page\": \"/\"}}]'
curl localhost:9080/v1/topics/views/partitions/0/records
curl -N 'localhost:9080/v1/topics/views/events?from=earliest'</pre>
<p><a href=\"/openapi.json\">openapi.json</a> is for programs; <a href=\"/metrics\">metrics</a>,
<a href=\"/readyz\">readyz</a> and <a href=\"/healthz\">healthz</a> are for operators.</p>
";

/// The page.
pub(super) fn render(document: &OpenApi) -> String {
    // A document that cannot be written as JSON has no page either.
    let document = serde_json::to_value(document).unwrap_or_default();
    let mut page = HEAD.to_owned();
    let about = text(&document, "/info/description");
    // Writing into a string cannot fail.
    let _ = writeln!(page, "<p>{}</p>\n{EXAMPLES}", escaped(about));
    let tags = document.pointer("/tags").and_then(Value::as_array).into_iter().flatten();
    for tag in tags {
        let name = text(tag, "/name");
        let _ = writeln!(page, "<h2>{}</h2>\n<p>{}</p>", escaped(name), escaped(text(tag, "/description")));
        for (path, method, operation) in operations(&document) {
            let is_of = |tags: &Value| tags.as_array().is_some_and(|tags| tags.iter().any(|tag| tag == name));
            if operation.get("tags").is_some_and(is_of) {
                describe(&mut page, path, method, operation);
            }
        }
    }
    page.push_str("</body></html>\n");
    page
}

fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    let paths = document.get("paths").and_then(Value::as_object).into_iter().flatten();
    paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().into_iter().flatten();
        methods.map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

fn describe(page: &mut String, path: &str, method: &str, operation: &Value) {
    let summary = escaped(text(operation, "/summary"));
    let method = method.to_uppercase();
    let _ =
        writeln!(page, "<details><summary><b>{method}</b><code>{}</code> {summary}</summary>", escaped(path));
    for paragraph in text(operation, "/description").split("\n\n").filter(|text| !text.is_empty()) {
        let _ = writeln!(page, "<p>{}</p>", escaped(paragraph));
    }
    let parameters: Vec<&Value> =
        operation.get("parameters").and_then(Value::as_array).into_iter().flatten().collect();
    if !parameters.is_empty() {
        page.push_str("<table>\n");
        for parameter in parameters {
            let (name, place) = (escaped(text(parameter, "/name")), escaped(text(parameter, "/in")));
            let default = parameter.pointer("/schema/default").map(|default| format!(" Default: {default}."));
            let about = escaped(text(parameter, "/description")) + &escaped(&default.unwrap_or_default());
            let _ = writeln!(page, "<tr><td><code>{name}</code></td><td>{place}</td><td>{about}</td></tr>");
        }
        page.push_str("</table>\n");
    }
    for (what, at) in [("Takes", "/requestBody/content"), ("Gives", "/responses/200/content")] {
        let kinds = operation.pointer(at).and_then(Value::as_object);
        let kinds: Vec<String> =
            kinds.into_iter().flatten().map(|(kind, _)| format!("<code>{}</code>", escaped(kind))).collect();
        if !kinds.is_empty() {
            let _ = writeln!(page, "<p>{what} {}</p>", kinds.join(", "));
        }
    }
    page.push_str("</details>\n");
}

fn text<'a>(value: &'a Value, at: &str) -> &'a str {
    value.pointer(at).and_then(Value::as_str).unwrap_or_default()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
