// A server of the official Go SDK, for the tests of the probe. In: -listen ADDRESS and -stateless. Out: MCP at /mcp, with
// two tools. What is answered is the SDK's matter.
package main

import (
	"context"
	"flag"
	"log"
	"net/http"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

type empty struct{}

func nothing(context.Context, *mcp.CallToolRequest, empty) (*mcp.CallToolResult, empty, error) {
	return &mcp.CallToolResult{}, empty{}, nil
}

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address")
	stateless := flag.Bool("stateless", false, "no sessions")
	flag.Parse()
	server := mcp.NewServer(&mcp.Implementation{Name: "go-server", Version: "1.2.3"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: "first", Description: "does nothing"}, nothing)
	mcp.AddTool(server, &mcp.Tool{Name: "second", Description: "does nothing either"}, nothing)
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server },
		&mcp.StreamableHTTPOptions{Stateless: *stateless})
	http.Handle("/mcp", handler)
	log.Fatal(http.ListenAndServe(*listen, nil))
}
