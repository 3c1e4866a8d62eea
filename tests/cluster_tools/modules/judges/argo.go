package main

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	luajson "layeh.com/gopher-json"
)

const scriptTimeout = time.Second

// What Argo CD counts as a health; anything else reads as Unknown.
var known = map[string]bool{
	"Healthy": true, "Suspended": true, "Progressing": true,
	"Missing": true, "Degraded": true, "Unknown": true,
}

type health struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

type actions struct {
	Discovery   string            `json:"discovery"`
	Definitions map[string]string `json:"definitions"`
}

// performed is an action as offered, and what it changes when somebody takes it.
type performed struct {
	Disabled    bool              `json:"disabled"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Elsewhere   bool              `json:"elsewhere"`
	Error       string            `json:"error,omitempty"`
}

func healthOf(object *unstructured.Unstructured, script string) health {
	var found health
	if err := run(object, script, &found); err != nil {
		return health{"error", err.Error()}
	}
	if !known[found.Status] {
		return health{"Unknown", "Lua returned an invalid health status"}
	}
	return found
}

func (a actions) performAll(object *unstructured.Unstructured) map[string]performed {
	offered := map[string]map[string]any{}
	if err := run(object, a.Discovery, &offered); err != nil {
		return map[string]performed{"discovery": {Error: err.Error()}}
	}
	done := map[string]performed{}
	for name, settings := range offered {
		script, defined := a.Definitions[name]
		if disabled, _ := settings["disabled"].(bool); disabled {
			done[name] = performed{Disabled: true}
		} else if !defined {
			done[name] = performed{Error: "offered and not defined"}
		} else {
			done[name] = perform(object, script)
		}
	}
	return done
}

func perform(object *unstructured.Unstructured, script string) performed {
	var changed map[string]any
	if err := run(object, script, &changed); err != nil {
		return performed{Error: err.Error()}
	}
	var before map[string]any
	text, err := json.Marshal(object.Object)
	if err == nil {
		err = json.Unmarshal(text, &before)
	}
	if err != nil {
		return performed{Error: err.Error()}
	}
	added := map[string]string{}
	old := annotationsOf(before)
	for name, value := range annotationsOf(changed) {
		if old[name] != value {
			added[name] = fmt.Sprint(value)
		}
	}
	for _, one := range []map[string]any{before, changed} {
		if metadata, ok := one["metadata"].(map[string]any); ok {
			delete(metadata, "annotations")
		}
	}
	return performed{Annotations: added, Elsewhere: !reflect.DeepEqual(bare(before), bare(changed))}
}

func annotationsOf(object map[string]any) map[string]any {
	metadata, _ := object["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	return annotations
}

// bare leaves out what is empty: Lua does not tell an empty list from an empty map.
func bare(value any) any {
	switch one := value.(type) {
	case map[string]any:
		kept := map[string]any{}
		for name, item := range one {
			if inner := bare(item); inner != nil {
				kept[name] = inner
			}
		}
		if len(kept) == 0 {
			return nil
		}
		return kept
	case []any:
		if len(one) == 0 {
			return nil
		}
		kept := make([]any, len(one))
		for place, item := range one {
			kept[place] = bare(item)
		}
		return kept
	}
	return value
}

// run runs a script as Argo CD does: no strings, no mathematics, no input or output, one second.
func run(object *unstructured.Unstructured, script string, into any) error {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{
		{lua.LoadLibName, lua.OpenPackage},
		{lua.BaseLibName, lua.OpenBase},
		{lua.TabLibName, lua.OpenTable},
	} {
		opener := lua.P{Fn: state.NewFunction(library.open), NRet: 0, Protect: true}
		if err := state.CallByParam(opener, lua.LString(library.name)); err != nil {
			return err
		}
	}
	state.PreloadModule(lua.OsLibName, clock)
	limited, cancel := context.WithTimeout(context.Background(), scriptTimeout)
	defer cancel()
	state.SetContext(limited)
	state.SetGlobal("obj", valueOf(state, object.Object))
	if err := state.DoString(script); err != nil {
		return err
	}
	returned := state.Get(-1)
	if returned.Type() != lua.LTTable {
		return fmt.Errorf("the script returned a %s and not a table", returned.Type())
	}
	text, err := luajson.Encode(returned)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// clock is the part of `os` that scripts may require.
func clock(state *lua.LState) int {
	state.Push(state.SetFuncs(state.NewTable(), map[string]lua.LGFunction{
		"time": func(state *lua.LState) int {
			state.Push(lua.LNumber(time.Now().Unix()))
			return 1
		},
	}))
	return 1
}

func valueOf(state *lua.LState, value any) lua.LValue {
	switch one := value.(type) {
	case bool:
		return lua.LBool(one)
	case float64:
		return lua.LNumber(one)
	case int64:
		return lua.LNumber(one)
	case string:
		return lua.LString(one)
	case []any:
		list := state.CreateTable(len(one), 0)
		for _, item := range one {
			list.Append(valueOf(state, item))
		}
		return list
	case map[string]any:
		table := state.CreateTable(0, len(one))
		for key, item := range one {
			table.RawSetString(key, valueOf(state, item))
		}
		return table
	}
	return lua.LNil
}
