// The peer of isolation_bench: HashiCorp go-plugin over gRPC and over net/rpc, host and plugin in one program.
//
//	RESULT isolation case=roundtrip p50_ns=… p99_ns=…   case=mb p50_ns=… mb_s=…   case=death p50_ns=…
package main

import (
	"fmt"
	"net/rpc"
	"os"
	"os/exec"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
)

type echo interface{ Echo(text string) (string, error) }

type server struct{ impl echo }

func (s *server) Echo(text string, out *string) (err error) { *out, err = s.impl.Echo(text); return }

type client struct{ rpc *rpc.Client }

func (c *client) Echo(text string) (out string, err error) { err = c.rpc.Call("Plugin.Echo", text, &out); return }

type kind struct{ impl echo }

func (k *kind) Server(*plugin.MuxBroker) (interface{}, error)                { return &server{k.impl}, nil }
func (k *kind) Client(_ *plugin.MuxBroker, c *rpc.Client) (interface{}, error) { return &client{c}, nil }

type real struct{}

func (real) Echo(text string) (string, error) {
	if text == "die" {
		syscall.Kill(os.Getpid(), syscall.SIGSEGV)
		time.Sleep(time.Hour)
	}
	return text, nil
}

var shake = plugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: "BENCH", MagicCookieValue: "echo"}

func start() (*plugin.Client, echo) {
	c := plugin.NewClient(&plugin.ClientConfig{HandshakeConfig: shake, Plugins: map[string]plugin.Plugin{"echo": &kind{}},
		Cmd: exec.Command(os.Args[0], "serve"), Logger: hclog.NewNullLogger()})
	proto, err := c.Client()
	if err != nil {
		panic(err)
	}
	raw, err := proto.Dispense("echo")
	if err != nil {
		panic(err)
	}
	return c, raw.(echo)
}

func report(name string, ns []int64, more string) {
	sort.Slice(ns, func(i, j int) bool { return ns[i] < ns[j] })
	fmt.Printf("RESULT isolation case=%s p50_ns=%d p99_ns=%d n=%d%s\n", name, ns[len(ns)/2], ns[len(ns)*99/100], len(ns), more)
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		plugin.Serve(&plugin.ServeConfig{HandshakeConfig: shake, Plugins: map[string]plugin.Plugin{"echo": &kind{real{}}}})
		return
	}
	n := 20000
	if len(os.Args) > 1 {
		n, _ = strconv.Atoi(os.Args[1])
	}
	c, e := start()
	timed := func(text string) int64 {
		at := time.Now()
		if out, err := e.Echo(text); err != nil || len(out) != len(text) {
			panic(err)
		}
		return time.Since(at).Nanoseconds()
	}
	var ns []int64
	for i := 0; i < n+n/10; i++ {
		if t := timed("x"); i >= n/10 {
			ns = append(ns, t)
		}
	}
	report("roundtrip", ns, "")
	big := strings.Repeat("x", 1<<20)
	ns = nil
	for i := 0; i < n/500+5; i++ {
		ns = append(ns, timed(big))
	}
	sort.Slice(ns, func(i, j int) bool { return ns[i] < ns[j] })
	report("mb", ns, fmt.Sprintf(" mb_s=%f", 2e9/float64(ns[len(ns)/2])))
	ns = nil
	for i := 0; i < n/1000+3; i++ {
		at := time.Now()
		e.Echo("die")
		c.Kill()
		c, e = start()
		timed("x")
		ns = append(ns, time.Since(at).Nanoseconds())
	}
	report("death", ns, "")
	c.Kill()
}
