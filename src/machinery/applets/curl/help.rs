//! What `--help` prints.

/// The options, a line each.
pub(super) const HELP: &str = "     --cacert <file>         CA certificate to verify peer against
 -E, --cert <certificate>    Client certificate file (PEM)
     --compressed            Request compressed response
 -b, --cookie <data>         Send cookies from string
 -d, --data <data>           HTTP POST data
 -D, --dump-header <file>    Write the received headers to <filename>
 -f, --fail                  Fail fast with no output on HTTP errors
 -g, --globoff               Send {}[] in URLs as they are
 -G, --get                   Put the post data in the URL and use GET
 -H, --header <header>       Pass custom header to server
 -I, --head                  Show document info only
 -i, --include               Include response headers in output
 -k, --insecure              Allow insecure server connections
     --key <key>             Private key file (PEM)
 -L, --location              Follow redirects
 -m, --max-time <seconds>    Maximum time allowed for transfer
     --connect-timeout <s>   Maximum time allowed to connect
     --oauth2-bearer <token> OAuth 2 Bearer Token
 -o, --output <file>         Write to file instead of stdout
 -O, --remote-name           Write output to file named as remote file
 -r, --range <range>         Retrieve only the bytes within RANGE
 -e, --referer <URL>         Referrer URL
     --resolve <host:port:addr[,addr]...>  Resolve the host+port to this address
     --retry <num>           Retry request if transient problems occur
     --retry-all-errors      Retry all errors (use with --retry)
     --retry-connrefused     Retry on connection refused (use with --retry)
     --retry-delay <seconds> Wait time between retries
     --retry-max-time <s>    Retry only within this period
 -s, --silent                Silent mode
 -S, --show-error            Show error even when -s is used
 -T, --upload-file <file>    Transfer local FILE to destination
 -u, --user <user:password>  Server user and password
 -A, --user-agent <name>     Send User-Agent <name> to server
 -v, --verbose               Make the operation more talkative
 -w, --write-out <format>    Use output FORMAT after completion
 -X, --request <method>      Specify request method to use
This is Ropewalk's own curl: HTTP/1.1, with and without TLS.";
