// Counts the lines, words and bytes of a text: a plain program that is deployed as a task, with no SDK.
//
// The payload is its standard input, its standard output is the result, and its standard error is the log.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

type report struct {
	Lines int `json:"lines"`
	Words int `json:"words"`
	Bytes int `json:"bytes"`
}

func main() {
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	text := string(input)
	fmt.Fprintf(os.Stderr, "attempt %s: %d bytes\n", os.Getenv("STEM_ATTEMPT"), len(text))
	if strings.TrimSpace(text) == "" {
		// The last line of a command that fails may say more than its exit code can.
		fmt.Fprintln(os.Stderr, "stem: reject empty-text there is nothing to count")
		os.Exit(1)
	}
	lines := strings.Count(text, "\n")
	if !strings.HasSuffix(text, "\n") {
		lines++
	}
	json.NewEncoder(os.Stdout).Encode(report{lines, len(strings.Fields(text)), len(text)})
}
