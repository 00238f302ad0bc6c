package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
)

// What `promtool test rules` calls a test: series, and the alerts that fire at certain times. Its own code
// belongs to a program and can't be imported; engine, storage and rules are the same.
type test struct {
	Interval model.Duration `json:"interval"`
	Series   []struct {
		Series string `json:"series"`
		Values string `json:"values"`
	} `json:"input_series"`
	Alerts []expectation `json:"alert_rule_test"`
}

type expectation struct {
	At     model.Duration `json:"eval_time"`
	Name   string         `json:"alertname"`
	Alerts []struct {
		Labels      map[string]string `json:"exp_labels"`
		Annotations map[string]string `json:"exp_annotations"`
	} `json:"exp_alerts"`
}

// Loads rules from a request, where Prometheus would read a file.
type loader struct {
	text   string
	parser parser.Parser
}

func (l loader) Load(_ string, _ bool, scheme model.ValidationScheme) (*rulefmt.RuleGroups, []error) {
	return rulefmt.Parse([]byte(l.text), false, scheme, l.parser, slog.New(slog.DiscardHandler))
}

func (l loader) Parse(query string) (parser.Expr, error) {
	return l.parser.ParseExpr(query)
}

func (t test) run(text string, p parser.Parser) []error {
	data, err := promqltest.NewLazyLoader(t.load(), promqltest.LazyLoaderOpts{
		EnableAtModifier:     true,
		EnableNegativeOffset: true,
	})
	if err != nil {
		return []error{err}
	}
	defer data.Close()
	manager := rules.NewManager(&rules.ManagerOptions{
		QueryFunc:   rules.EngineQueryFunc(data.QueryEngine(), data.Storage()),
		Appendable:  data.Storage(),
		Context:     context.Background(),
		NotifyFunc:  func(context.Context, string, ...*rules.Alert) {},
		Logger:      slog.New(slog.DiscardHandler),
		Parser:      p,
		GroupLoader: loader{text, p},
	})
	step := t.step()
	groups, errs := manager.LoadGroups(step, labels.EmptyLabels(), "", nil, false, "rules")
	if len(errs) > 0 {
		return errs
	}
	last := slices.MaxFunc(t.Alerts, func(a, b expectation) int { return int(a.At - b.At) }).At
	start := time.Unix(0, 0).UTC()
	for now := start; !now.After(start.Add(time.Duration(last))); now = now.Add(step) {
		data.WithSamplesTill(now, func(err error) { errs = append(errs, err) })
		for _, group := range groups {
			group.Eval(data.Context(), now)
			for _, rule := range group.Rules() {
				if err := rule.LastError(); err != nil {
					return append(errs, fmt.Errorf("%s: %w", rule.Name(), err))
				}
			}
		}
		for _, expected := range t.Alerts {
			if start.Add(time.Duration(expected.At)).Equal(now) {
				errs = append(errs, expected.compare(groups))
			}
		}
	}
	return slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}

// Between two samples, and between two evaluations.
func (t test) step() time.Duration {
	if t.Interval == 0 {
		return time.Minute
	}
	return time.Duration(t.Interval)
}

// The series, in the language of Prometheus' own tests.
func (t test) load() string {
	var text strings.Builder
	fmt.Fprintf(&text, "load %v\n", model.Duration(t.step()))
	for _, series := range t.Series {
		fmt.Fprintf(&text, "  %v %v\n", series.Series, series.Values)
	}
	return text.String()
}

func (e expectation) compare(groups map[string]*rules.Group) error {
	var found, wanted []string
	for _, group := range groups {
		for _, rule := range group.AlertingRules() {
			if rule.Name() != e.Name {
				continue
			}
			for _, alert := range rule.ActiveAlerts() {
				if alert.State == rules.StateFiring {
					found = append(found, alert.Labels.String()+" "+alert.Annotations.String())
				}
			}
		}
	}
	for _, alert := range e.Alerts {
		all := labels.NewBuilder(labels.FromMap(alert.Labels)).Set(labels.AlertName, e.Name).Labels()
		wanted = append(wanted, all.String()+" "+labels.FromMap(alert.Annotations).String())
	}
	slices.Sort(found)
	slices.Sort(wanted)
	if slices.Equal(found, wanted) {
		return nil
	}
	return fmt.Errorf("%s at %v: wanted %q, found %q", e.Name, e.At, wanted, found)
}
