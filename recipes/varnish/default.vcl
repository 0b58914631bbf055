# /etc/varnish/default.vcl: Comet behind a Varnish that is there already. Varnish has no TLS; what stands in front of it
# for that must speak HTTP/1.1 to it, because Varnish cannot pipe HTTP/2.
#
#   varnishd -f /etc/varnish/default.vcl -a :80 -p pipe_timeout=90
#
# Without pipe_timeout, polls that ask to be held for the full 60 s are cut. The daemon runs as
#
#   twistd -n comet --host push.example.org --proxy 127.0.0.1 --key /etc/comet/key
#
# Varnish cannot choose the address that it connects from: so programs of this machine need a token, too, or a UNIX socket
# of their own, by a second --http and --tcp.
#
# Yours to change:
#   push.example.org              the name that browsers know
#   "10.0.0.0"/8                  from where an administrator may see the daemon's figures
#   /etc/comet/key                the key that tokens are signed with: comet token --new-key /etc/comet/key
#   "7080"                        the port where Comet listens

vcl 4.1;

backend comet {
    .host = "127.0.0.1";
    .port = "7080";
}

acl own {
    "10.0.0.0"/8;
}

sub vcl_recv {
    if (req.http.Host == "push.example.org") {
        set req.backend_hint = comet;
        # What subscribes is piped, byte for byte: a message that crosses a border of 16 KiB would come with the next one
        # only, equal polls would wait for each other, and WebSockets would not work.
        if (req.method == "GET" && req.url ~ "^/topics[/?]") {
            return (pipe);
        }
        # Of the rest, what clients need is for everybody. All else wants an administrator's token besides.
        if (req.url !~ "^/(topics|streams|healthz|readyz)([/?]|$)" && client.ip !~ own) {
            return (synth(403));
        }
        return (pass);
    }
}

sub vcl_pipe {
    # Varnish leaves these out otherwise.
    if (req.http.Upgrade) {
        set bereq.http.Upgrade = req.http.Upgrade;
        set bereq.http.Connection = req.http.Connection;
    }
}
