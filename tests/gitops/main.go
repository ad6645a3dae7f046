// Judges objects and manifests as Argo CD and Flux do, with the libraries that those are made of.
//
// In (stdin, JSON): cases, each an object with the Lua script of its kind and Flux's three expressions; manifests of
// Flux as YAML texts. Out (stdout, JSON): for each case what Argo CD, kstatus and Flux say; for each manifest what is
// wrong with it, or nothing. Whether that is as it should be is for ../gitops.rs to say.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	helm "github.com/fluxcd/helm-controller/api/v2"
	kustomize "github.com/fluxcd/kustomize-controller/api/v1"
	source "github.com/fluxcd/source-controller/api/v1"
	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/ext"
	lua "github.com/yuin/gopher-lua"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

type request struct {
	Cases     []testCase `json:"cases"`
	Manifests []string   `json:"manifests"`
}

type testCase struct {
	Object      json.RawMessage `json:"object"`
	Lua         string          `json:"lua"`
	Expressions expressions     `json:"expressions"`
}

type expressions struct {
	InProgress string `json:"inProgress"`
	Failed     string `json:"failed"`
	Current    string `json:"current"`
}

type verdict struct {
	Argocd  health `json:"argocd"`
	Kstatus string `json:"kstatus"`
	Flux    string `json:"flux"`
}

type health struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

type response struct {
	Cases     []verdict `json:"cases"`
	Manifests []string  `json:"manifests"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var asked request
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		return fmt.Errorf("failed to read the request: %w", err)
	}
	answer := response{Cases: []verdict{}, Manifests: []string{}}
	for number, asked := range asked.Cases {
		judged, err := judge(asked)
		if err != nil {
			return fmt.Errorf("case %d: %w", number, err)
		}
		answer.Cases = append(answer.Cases, judged)
	}
	for _, text := range asked.Manifests {
		answer.Manifests = append(answer.Manifests, check(text))
	}
	return json.NewEncoder(os.Stdout).Encode(answer)
}

func judge(asked testCase) (verdict, error) {
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(asked.Object); err != nil {
		return verdict{}, err
	}
	argocd, err := runLua(asked.Lua, object.Object)
	if err != nil {
		return verdict{}, err
	}
	computed, err := status.Compute(object)
	if err != nil {
		return verdict{}, err
	}
	return verdict{Argocd: argocd, Kstatus: computed.Status.String(), Flux: runExpressions(asked.Expressions, object)}, nil
}

// runLua opens what Argo CD opens by default: the language and its tables.
func runLua(script string, object map[string]any) (health, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{{lua.LoadLibName, lua.OpenPackage}, {lua.BaseLibName, lua.OpenBase}, {lua.TabLibName, lua.OpenTable}} {
		call := lua.P{Fn: state.NewFunction(library.open), NRet: 0, Protect: true}
		if err := state.CallByParam(call, lua.LString(library.name)); err != nil {
			return health{}, err
		}
	}
	limit, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(limit)
	state.SetGlobal("obj", toLua(state, object))
	if err := state.DoString(script); err != nil {
		return health{}, err
	}
	table, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return health{}, fmt.Errorf("the script returned %s, not a table", state.Get(-1).Type())
	}
	said, ok := table.RawGetString("status").(lua.LString)
	message, ok2 := table.RawGetString("message").(lua.LString)
	if !ok || !ok2 {
		return health{}, fmt.Errorf("status and message must be texts")
	}
	switch said {
	case "Healthy", "Progressing", "Degraded", "Suspended":
		return health{Status: string(said), Message: string(message)}, nil
	}
	return health{}, fmt.Errorf("Argo CD has no status %q", said)
}

func toLua(state *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case bool:
		return lua.LBool(value)
	case string:
		return lua.LString(value)
	case int64:
		return lua.LNumber(value)
	case float64:
		return lua.LNumber(value)
	case []any:
		list := state.NewTable()
		for _, item := range value {
			list.Append(toLua(state, item))
		}
		return list
	case map[string]any:
		table := state.NewTable()
		for key, item := range value {
			table.RawSetString(key, toLua(state, item))
		}
		return table
	default:
		return lua.LNil
	}
}

// runExpressions goes by the order in which Flux asks: generation, in progress, failed, current.
func runExpressions(asked expressions, object *unstructured.Unstructured) string {
	observed, found, err := unstructured.NestedInt64(object.Object, "status", "observedGeneration")
	if err == nil && found && observed != object.GetGeneration() {
		return "InProgress"
	}
	for _, step := range []struct{ expression, status string }{
		{asked.InProgress, "InProgress"}, {asked.Failed, "Failed"}, {asked.Current, "Current"},
	} {
		holds, err := evaluate(step.expression, object.Object)
		if err != nil {
			return "error: " + err.Error()
		}
		if holds {
			return step.status
		}
	}
	return "InProgress"
}

func evaluate(expression string, object map[string]any) (bool, error) {
	environment, err := cel.NewEnv(
		cel.HomogeneousAggregateLiterals(), cel.EagerlyValidateDeclarations(true), cel.DefaultUTCTimeZone(true),
		cel.CrossTypeNumericComparisons(true), cel.OptionalTypes(), ext.Strings(), ext.Sets(), ext.Encoders(),
	)
	if err != nil {
		return false, err
	}
	parsed, issues := environment.Parse(expression)
	if issues.Err() != nil {
		return false, issues.Err()
	}
	program, err := environment.Program(parsed)
	if err != nil {
		return false, err
	}
	value, _, err := program.Eval(object)
	if err != nil {
		return false, err
	}
	holds, ok := value.Value().(bool)
	if !ok {
		return false, fmt.Errorf("%q is no truth value", expression)
	}
	return holds, nil
}

// check decodes a manifest into the type of its kind; a field that the type has not is an error.
func check(text string) string {
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := yaml.Unmarshal([]byte(text), &head); err != nil {
		return err.Error()
	}
	types := map[string]any{
		"v1/Namespace":                                 &corev1.Namespace{},
		"helm.toolkit.fluxcd.io/v2/HelmRelease":        &helm.HelmRelease{},
		"kustomize.toolkit.fluxcd.io/v1/Kustomization": &kustomize.Kustomization{},
		"source.toolkit.fluxcd.io/v1/GitRepository":    &source.GitRepository{},
		"source.toolkit.fluxcd.io/v1/HelmRepository":   &source.HelmRepository{},
	}
	into, ok := types[head.APIVersion+"/"+head.Kind]
	if !ok {
		return fmt.Sprintf("no type for %s %s", head.APIVersion, head.Kind)
	}
	if err := yaml.UnmarshalStrict([]byte(text), into); err != nil {
		return err.Error()
	}
	return ""
}
