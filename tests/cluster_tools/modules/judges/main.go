// Judges of a status as GitOps tools judge it: kstatus (upstream's and Flux's), Flux's health check
// expressions, and Argo CD's Lua. The tools' own packages where they can be imported alone; Argo
// CD's sandbox is made of the same libraries that its own opens.
//
// Standard input: a line with the rules, then a line for each object. Standard output: a line with
// the answers for each object, in their order.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	fluxstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kstatus "sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

const longestLine = 16 << 20

type rules struct {
	Profiles map[string]profile `json:"profiles"`
	Actions  map[string]actions `json:"actions"`
}

// A profile has, for each kind, a health script and health check expressions.
type profile struct {
	Health      map[string]string      `json:"health"`
	Expressions map[string]expressions `json:"expressions"`
}

type answers struct {
	Kstatus     string               `json:"kstatus"`
	FluxKstatus string               `json:"fluxKstatus"`
	Health      map[string]health    `json:"health"`
	Expressions map[string]string    `json:"expressions"`
	Actions     map[string]performed `json:"actions"`
}

func main() {
	if err := serve(bufio.NewReaderSize(os.Stdin, 1<<20), bufio.NewWriter(os.Stdout)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(in *bufio.Reader, out *bufio.Writer) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 1<<20), longestLine)
	if !lines.Scan() {
		return fmt.Errorf("no rules on standard input: %v", lines.Err())
	}
	var told rules
	if err := json.Unmarshal(lines.Bytes(), &told); err != nil {
		return fmt.Errorf("the first line holds no rules: %w", err)
	}
	bench, err := assemble(told)
	if err != nil {
		return err
	}
	encoder := json.NewEncoder(out)
	for lines.Scan() {
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(lines.Bytes()); err != nil {
			return fmt.Errorf("no object: %w", err)
		}
		if err := encoder.Encode(bench.judge(object)); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return out.Flush()
}

// A bench is the rules, ready to judge.
type bench struct {
	rules      rules
	evaluators map[string]map[string]evaluator
}

func assemble(told rules) (bench, error) {
	made := bench{told, map[string]map[string]evaluator{}}
	for name, profile := range told.Profiles {
		made.evaluators[name] = map[string]evaluator{}
		for kind, written := range profile.Expressions {
			evaluator, err := newEvaluator(written)
			if err != nil {
				return made, fmt.Errorf("profile %s, %s: %w", name, kind, err)
			}
			made.evaluators[name][kind] = evaluator
		}
	}
	return made, nil
}

func (b bench) judge(object *unstructured.Unstructured) answers {
	given := answers{
		Health:      map[string]health{},
		Expressions: map[string]string{},
		Actions:     map[string]performed{},
	}
	if result, err := kstatus.Compute(object); err != nil {
		given.Kstatus = "error: " + err.Error()
	} else {
		given.Kstatus = result.Status.String()
	}
	if result, err := fluxstatus.Compute(object); err != nil {
		given.FluxKstatus = "error: " + err.Error()
	} else {
		given.FluxKstatus = result.Status.String()
	}
	kind := object.GetKind()
	for name, profile := range b.rules.Profiles {
		if script, ok := profile.Health[kind]; ok {
			given.Health[name] = healthOf(object, script)
		}
		if evaluator, ok := b.evaluators[name][kind]; ok {
			given.Expressions[name] = evaluator.answer(object)
		}
	}
	if offered, ok := b.rules.Actions[kind]; ok {
		given.Actions = offered.performAll(object)
	}
	return given
}
