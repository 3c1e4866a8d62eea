package main

import (
	"context"

	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

type expressions = kustomize.HealthCheckExpressions

type evaluator struct{ flux *cel.StatusEvaluator }

func newEvaluator(written expressions) (evaluator, error) {
	made, err := cel.NewStatusEvaluator(&written)
	return evaluator{made}, err
}

func (e evaluator) answer(object *unstructured.Unstructured) string {
	result, err := e.flux.Evaluate(context.Background(), object)
	if err != nil {
		return "error: " + err.Error()
	}
	return result.Status.String()
}
