//! The part of nginx' configuration language that static servers use. Anything else is refused by name, as nginx refuses what it
//! does not know.

use std::path::{Path, PathBuf};

#[derive(Debug, PartialEq, Eq)]
pub struct Config {
    pub servers: Vec<Server>,
}

/// One `server` block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub port: u16,
    pub root: PathBuf,
    pub index: Vec<String>,
    /// Path prefix and what to do there; the longest prefix wins.
    pub locations: Vec<(String, Location)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Location {
    pub root: Option<PathBuf>,
    /// `return CODE [TEXT]`.
    pub answer: Option<(u16, String)>,
}

/// Errors in nginx' words, with file and line.
pub fn load(path: &Path) -> Result<Config, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("open() \"{}\" failed ({e})", path.display()))?;
    parse(&text).map_err(|(what, line)| format!("{what} in {}:{line}", path.display()))
}

type Fault = (String, usize);

/// Words, `{`, `}` and `;` with their lines. Quotes hold a word together, `#` starts a comment.
fn tokens(text: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut word: Option<String> = None;
        let mut quote = None;
        for c in line.chars() {
            match (quote, c) {
                (Some(q), _) if c == q => quote = None,
                (Some(_), _) => word.get_or_insert_default().push(c),
                (None, '\'' | '"') => {
                    quote = Some(c);
                    word.get_or_insert_default();
                }
                (None, '#') => break,
                (None, '{' | '}' | ';') => {
                    found.extend(word.take().map(|w| (w, number + 1)));
                    found.push((c.to_string(), number + 1));
                }
                (None, _) if c.is_whitespace() => found.extend(word.take().map(|w| (w, number + 1))),
                (None, _) => word.get_or_insert_default().push(c),
            }
        }
        found.extend(word.take().map(|w| (w, number + 1)));
    }
    found
}

fn parse(text: &str) -> Result<Config, Fault> {
    let mut servers: Vec<Server> = Vec::new();
    let mut location: Option<(String, Location)> = None;
    let mut words: Vec<String> = Vec::new();
    let mut in_server = false;
    let mut last = 1;
    for (token, line) in tokens(text) {
        last = line;
        let directive = std::mem::take(&mut words);
        let unknown = |name: &str| (format!("unknown directive \"{name}\""), line);
        let parts: Vec<&str> = directive.iter().map(String::as_str).collect();
        match (token.as_str(), &parts[..]) {
            ("{", ["server"]) if !in_server => {
                in_server = true;
                let root = "/etc/nginx/html".into();
                servers.push(Server { port: 80, root, index: vec!["index.html".into()], locations: Vec::new() });
            }
            ("{", ["location", prefix]) if in_server && location.is_none() => {
                location = Some(((*prefix).to_string(), Location::default()));
            }
            ("{", ["location", ..]) => return Err(("this nginx knows plain \"location /prefix\" only".into(), line)),
            ("{", [name, ..]) => return Err(unknown(name)),
            ("}", []) if location.is_some() => {
                if let (Some(server), Some(done)) = (servers.last_mut(), location.take()) {
                    server.locations.push(done);
                }
            }
            ("}", []) if in_server => in_server = false,
            (";", [name, values @ ..]) => match servers.last_mut().filter(|_| in_server) {
                Some(server) => apply(server, location.as_mut(), name, values).map_err(|what| (what, line))?,
                None => return Err(unknown(name)),
            },
            ("{" | "}" | ";", _) => return Err((format!("unexpected \"{token}\""), line)),
            _ => {
                words = directive;
                words.push(token);
            }
        }
    }
    if in_server || !words.is_empty() {
        return Err(("unexpected end of file, expecting \"}\"".into(), last));
    }
    servers.iter_mut().for_each(|s| s.locations.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len())));
    Ok(Config { servers })
}

fn apply(
    server: &mut Server,
    location: Option<&mut (String, Location)>,
    name: &str,
    values: &[&str],
) -> Result<(), String> {
    match (name, values, location) {
        ("listen", [address, ..], None) => {
            if address.starts_with('[') {
                return Ok(()); // pods have IPv4 addresses only
            }
            let port = address.rsplit(':').next().unwrap_or(address);
            server.port = port.parse().map_err(|_| format!("invalid port in \"{address}\" of the \"listen\" directive"))?;
        }
        ("server_name" | "error_page" | "access_log" | "error_log" | "charset", _, _) => {}
        ("root", [path], Some((_, location))) => location.root = Some(path.into()),
        ("root", [path], None) => server.root = path.into(),
        ("index", names, _) => server.index = names.iter().map(|n| (*n).to_string()).collect(),
        ("return", [code, text @ ..], place) => {
            let code = code.parse().map_err(|_| format!("invalid return code \"{code}\""))?;
            let answer = Some((code, text.join(" ")));
            match place {
                Some((_, location)) => location.answer = answer,
                None => server.locations.push(("/".into(), Location { root: None, answer })),
            }
        }
        ("default_type" | "add_header" | "try_files" | "proxy_pass", _, _) => {
            return Err(format!("directive \"{name}\" is not implemented by Ropewalk's nginx"));
        }
        _ => return Err(format!("unknown directive \"{name}\"")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_read_with_its_locations() {
        let text = "# one\nserver {\n  listen 8080; root '/a b';\n  location / { index x.html; }\n  \
                    location /health { return 200 'ok fine'; }\n}\n";
        let server = parse(text).unwrap().servers.remove(0);
        assert_eq!((server.port, server.root.to_str(), server.index[0].as_str()), (8080, Some("/a b"), "x.html"));
        assert_eq!(server.locations[0].0, "/health");
        assert_eq!(server.locations[0].1.answer, Some((200, "ok fine".into())));
    }

    #[test]
    fn faults_are_named_with_their_line() {
        let fault = |text: &str| parse(text).unwrap_err();
        assert_eq!(fault("server {\n lissten 80;\n}"), ("unknown directive \"lissten\"".into(), 2));
        assert_eq!(fault("server {"), ("unexpected end of file, expecting \"}\"".into(), 1));
        assert_eq!(fault("}"), ("unexpected \"}\"".into(), 1));
    }
}
