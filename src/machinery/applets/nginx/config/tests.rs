use super::*;

#[test]
fn a_server_is_read_with_its_locations() {
    let text = "# one\nserver {\n  listen 8080; root '/a b';\n  location / { index x.html; }\n  \
                location /health { return 200 'ok fine'; }\n}\n";
    let server = parse(text).unwrap().servers.remove(0);
    let location = |at: usize| &server.locations[at].1;
    assert_eq!(server.listens, [("0.0.0.0:8080".parse().unwrap(), false)]);
    assert_eq!((server.root.to_str(), server.index[0].as_str()), (Some("/a b"), "index.html"));
    assert_eq!(location(1).index, Some(vec!["x.html".to_string()]), "of this location alone");
    assert_eq!(server.locations[0].0, "/health");
    assert_eq!(location(0).answer, Some((200, Text::parse("ok fine").unwrap())));
}

#[test]
fn a_location_may_be_of_one_path() {
    let text = "server { location /a { return 201; } location = /a { return 202; } location ^~ /ab { } }";
    let server = parse(text).unwrap().servers.remove(0);
    let read: Vec<_> = server.locations.iter().map(|(prefix, l)| (prefix.as_str(), l.exact)).collect();
    assert_eq!(read, [("/ab", false), ("/a", true), ("/a", false)]);
    for (block, what) in [
        ("location ~ /x {}", "this nginx knows"),
        ("location = x {}", "this nginx knows"),
        ("location = /x {} location = /x {}", "duplicate location"),
        ("location /x {} location ^~ /x {}", "duplicate location"),
    ] {
        let (message, _) = parse(&format!("server {{ {block} }}")).unwrap_err();
        assert!(message.starts_with(what), "{block}: {message}");
    }
}

#[test]
fn faults_are_named_with_their_line() {
    let fault = |text: &str| parse(text).unwrap_err();
    assert_eq!(fault("server {\n lissten 80;\n}"), ("unknown directive \"lissten\"".into(), 2));
    let left_out = "\"client_max_body_size 5m\" is not implemented by Ropewalk's nginx";
    assert_eq!(fault("server {\n client_max_body_size 5m;\n}"), (left_out.into(), 2));
    assert_eq!(fault("server {"), ("unexpected end of file, expecting \"}\"".into(), 1));
    assert_eq!(fault("}"), ("unexpected \"}\"".into(), 1));
}

#[test]
fn what_would_have_no_effect_is_refused() {
    for directive in [
        "listen 443 ssl",
        "listen unix:/run/x",
        "server_name ~^a",
        "access_log /data/log",
        "error_log /data/log",
        "error_page 404 =200 /x",
        "error_page 404 http://h/x",
        "return 200 $nobody",
        "return 101 x",
        "root /srv/$host",
        "index $uri.html",
        "error_page 404 /$host.html",
        "server_name $hostname",
        "charset $arg_charset",
        "return 200 Hello World",
        "return",
        "return 200 \"a\"b",
        "listen 80 ipv6only=banana",
        "listen 80; listen *:80",
        "listen 80; listen [::]:80 ipv6only=off",
        "error_page 4040 /x",
        "error_page 99999 /x",
        "error_page 200 /x",
        "error_log stderr nonsense",
        "root /a; root /b",
        "root /a b",
        "charset off; charset utf-8",
        "listen [::]:80",
        "try_files $uri /",
    ] {
        let refused = parse(&format!("server {{ {directive}; }}"));
        assert!(refused.is_err(), "{directive}");
    }
}

#[test]
fn servers_share_an_address_and_differ_by_name() {
    let text = "server { listen 80; listen 127.0.0.1:81; server_name a; }\n\
                server { listen 80 default_server; server_name b *.b; }\nserver { listen 80; server_name c.*; }";
    let config = parse(text).unwrap();
    let addresses: Vec<String> = config.addresses().iter().map(SocketAddr::to_string).collect();
    assert_eq!(addresses, ["0.0.0.0:80", "127.0.0.1:81"]);
    let at = |address: usize, host: &str| {
        config.server(config.addresses()[address], host).map(|s| s.names[0].clone())
    };
    for (host, name) in [("a", "a"), ("A:80", "a"), ("x.b", "b"), ("c.org", "c.*"), ("other", "b"), ("", "b")]
    {
        assert_eq!(at(0, host).as_deref(), Some(name), "{host}");
    }
    assert_eq!(at(1, "b").as_deref(), Some("a"), "the only one there");
}

#[test]
fn the_longest_wildcard_wins() {
    let text = "server { listen 80; server_name *.org; }\n\
                server { listen 80; server_name .example.org; }\n\
                server { listen 80; server_name www.*; }\nserver { listen 80; server_name www.example.*; }";
    let config = parse(text).unwrap();
    let named = |host: &str| config.server(config.addresses()[0], host).map(|s| s.names[0].as_str());
    for (host, name) in [
        ("x.org", "*.org"),
        ("zz.example.org", "example.org"),
        ("example.org", "example.org"),
        ("www.example.com", "www.example.*"),
        ("www.other.com", "www.*"),
    ] {
        assert_eq!(named(host), Some(name), "{host}");
    }
}

#[test]
fn a_socket_of_both_families_takes_ipv4() {
    let listens = |directives: &str| {
        let mut config = parse(&format!("server {{ {directives} }}")).unwrap();
        config
            .servers
            .remove(0)
            .listens
            .into_iter()
            .map(|(address, _)| address.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(listens("listen [::]:8080 ipv6only=off;"), ["0.0.0.0:8080"]);
    assert_eq!(listens("listen 80; listen [::]:80;"), ["0.0.0.0:80"]);
    assert_eq!(parse("server {\n listen [::]:80;\n}").unwrap_err().1, 3);
}

#[test]
fn every_file_of_the_folder_is_read_and_a_main_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("conf.d")).unwrap();
    for (name, port) in [("b.conf", 81), ("a.conf", 80), ("c.conf.off", 82)] {
        std::fs::write(dir.path().join("conf.d").join(name), format!("server {{ listen {port}; }}")).unwrap();
    }
    assert_eq!(load(dir.path()).unwrap().addresses().len(), 2);
    std::fs::write(dir.path().join("nginx.conf"), "").unwrap();
    assert!(load(dir.path()).unwrap_err().contains("nginx.conf\" is not read"));
}

#[test]
fn a_relative_root_is_below_the_directory_of_nginx() {
    let server = parse("server { root html; location /a { root b; } }").unwrap().servers.remove(0);
    assert_eq!(server.root, PathBuf::from("/etc/nginx/html"));
    assert_eq!(server.locations[0].1.root, Some(PathBuf::from("/etc/nginx/b")));
}

#[test]
fn faults_have_the_words_of_nginx() {
    for (directives, what) in [
        ("return 200 Hello World;", "invalid number of arguments in \"return\" directive"),
        ("return 200 \"a\"b;", "unexpected \"b\""),
        ("listen 80; listen 80;", "a duplicate listen 0.0.0.0:80"),
        ("listen 80 ipv6only=banana;", "invalid ipv6only flags \"banana\""),
        ("error_page 200 /x;", "value \"200\" must be between 300 and 599"),
        ("error_log stderr nonsense;", "invalid log level \"nonsense\""),
        ("root /a; root /b;", "\"root\" directive is duplicate"),
        ("location / { default_type a/b; default_type c/d; }", "\"default_type\" directive is duplicate"),
        (
            "location / { root /srv/$host; }",
            "\"root /srv/$host\": Ropewalk's nginx has variables in \"return\" only",
        ),
        ("location /a { } location /a { }", "duplicate location \"/a\""),
    ] {
        assert_eq!(parse(&format!("server {{\n{directives}\n}}")), Err((what.into(), 2)));
    }
}

#[test]
fn what_may_stand_twice_adds_up() {
    let text = "server { root /a; index a b; index c; error_log stderr info; error_log stderr; return 200 \"a\" ;\
                location /x { root /b; index d; index e; } location /y { root /c; return 204; return 200 x; } }";
    let server = parse(text).unwrap().servers.remove(0);
    assert_eq!(server.index, ["a", "b", "c"]);
    let location =
        |prefix: &str| server.locations.iter().find(|(known, _)| known == prefix).unwrap().1.clone();
    assert_eq!(location("/x").index, Some(vec!["d".to_string(), "e".to_string()]));
    assert_eq!(location("/y").answer.map(|(code, _)| code), Some(204));
    assert_eq!(location("/y").root, Some(PathBuf::from("/c")));
}

#[test]
fn a_wildcard_takes_the_connections_of_its_port() {
    let text = "server { listen 80; server_name all; }\nserver { listen 127.0.0.1:80; server_name own; }\n\
                server { listen 127.0.0.1:81; server_name other; }";
    let config = parse(text).unwrap();
    let socket: Vec<String> = config.sockets().iter().map(SocketAddr::to_string).collect();
    assert_eq!(socket, ["0.0.0.0:80", "127.0.0.1:81"]);
    for (local, socket, name) in [
        ("127.0.0.1:80", "0.0.0.0:80", "own"),
        ("10.0.0.1:80", "0.0.0.0:80", "all"),
        ("127.0.0.1:81", "127.0.0.1:81", "other"),
    ] {
        let address = config.address(local.parse().unwrap(), socket.parse().unwrap());
        assert_eq!(config.server(address, "x").map(|s| s.names[0].as_str()), Some(name), "{local}");
    }
}
