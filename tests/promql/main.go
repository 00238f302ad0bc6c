// Reads one JSON request a line and says what Prometheus' own code thinks of it: of a file of rules, of an
// expression, or of which alerts fire over some series.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

type request struct {
	Rules string `json:"rules"`
	Expr  string `json:"expr"`
	Test  *test  `json:"test"`
}

type answer struct {
	Errors []string `json:"errors"`
}

func judge(r request, p parser.Parser) answer {
	a := answer{Errors: []string{}}
	if r.Test != nil {
		for _, err := range r.Test.run(r.Rules, p) {
			a.Errors = append(a.Errors, err.Error())
		}
		return a
	}
	if r.Rules != "" {
		_, errs := rulefmt.Parse([]byte(r.Rules), false, model.UTF8Validation, p, slog.New(slog.DiscardHandler))
		for _, err := range errs {
			a.Errors = append(a.Errors, err.Error())
		}
		return a
	}
	if _, err := p.ParseExpr(r.Expr); err != nil {
		a.Errors = append(a.Errors, err.Error())
	}
	return a
}

func main() {
	p := parser.NewParser(parser.Options{})
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var r request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if err := json.NewEncoder(os.Stdout).Encode(judge(r, p)); err != nil {
			os.Exit(1)
		}
	}
}
