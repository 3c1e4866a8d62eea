// A minimal controller-runtime controller: the yardstick of `make bench-operator`.
//
// It makes the same children and writes the same statuses as the operator does for a deployment
// that serves one verified version, from templates that the benchmark renders with the operator's
// own decisions. It decides nothing: no rollout, no rollback, no sync, no Events.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

const (
	managedBy    = "app.kubernetes.io/managed-by"
	owner        = "mooring.dev/deployment"
	intent       = "mooring.dev/intent"
	fieldManager = "mooring"
	byModel      = "spec.model.name"
)

var (
	modelKind      = schema.GroupVersionKind{Group: "mooring.dev", Version: "v1alpha1", Kind: "Model"}
	deploymentKind = schema.GroupVersionKind{Group: "mooring.dev", Version: "v1alpha1", Kind: "ModelDeployment"}
)

// childTemplate is one child as the operator would apply it, with placeholders.
type childTemplate struct {
	Kind     string `json:"kind"`
	Manifest string `json:"manifest"`
}

// templates is what the benchmark renders once for both sizes of everything.
type templates struct {
	Image       string          `json:"image"`
	Status      string          `json:"status"`
	ModelStatus string          `json:"modelStatus"`
	Children    []childTemplate `json:"children"`
}

func main() {
	path := flag.String("templates", "", "the rendered templates")
	qps := flag.Float64("qps", 50, "requests a second")
	burst := flag.Int("burst", 100, "requests at once")
	workers := flag.Int("workers", 16, "objects at the same time")
	metrics := flag.String("metrics", "127.0.0.1:0", "address of /metrics")
	flag.Parse()
	ctrl.SetLogger(klog.Background())
	if err := run(*path, *qps, *burst, *workers, *metrics); err != nil {
		klog.Fatal(err)
	}
}

func run(path string, qps float64, burst, workers int, metrics string) error {
	config, err := ctrl.GetConfig() // of the flag -kubeconfig
	if err != nil {
		return err
	}
	// One limit for all requests; with QPS and Burst alone, each kind would get its own.
	config.RateLimiter = flowcontrol.NewTokenBucketRateLimiter(float32(qps), burst)
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var filled templates
	if err := json.Unmarshal(raw, &filled); err != nil {
		return err
	}
	ours := labels.SelectorFromSet(labels.Set{managedBy: fieldManager})
	byKind := map[client.Object]cache.ByObject{}
	for _, kind := range childKinds() {
		byKind[kind] = cache.ByObject{Label: ours}
	}
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:  clientscheme.Scheme,
		Metrics: server.Options{BindAddress: metrics},
		Cache: cache.Options{
			ByObject:         byKind,
			DefaultTransform: cache.TransformStripManagedFields(),
		},
		Client: client.Options{Cache: &client.CacheOptions{Unstructured: true}},
	})
	if err != nil {
		return err
	}
	r := &reconciler{Client: manager.GetClient(), scheme: manager.GetScheme(), templates: filled}
	if err := r.setUp(manager, workers); err != nil {
		return err
	}
	return manager.Start(ctrl.SetupSignalHandler())
}

func childKinds() []client.Object {
	return []client.Object{
		&appsv1.Deployment{}, &corev1.Service{}, &corev1.ServiceAccount{}, &corev1.ConfigMap{},
		&policyv1.PodDisruptionBudget{}, &networkingv1.NetworkPolicy{},
	}
}

type reconciler struct {
	client.Client
	scheme    *runtime.Scheme
	templates templates
}

func (r *reconciler) setUp(manager ctrl.Manager, workers int) error {
	indexer := manager.GetFieldIndexer()
	err := indexer.IndexField(context.Background(), empty(deploymentKind), byModel,
		func(object client.Object) []string {
			name, _, _ := unstructured.NestedString(
				object.(*unstructured.Unstructured).Object, "spec", "model", "name")
			return []string{name}
		})
	if err != nil {
		return err
	}
	options := controller.Options{MaxConcurrentReconciles: workers}
	deployments := ctrl.NewControllerManagedBy(manager).Named("modeldeployment").
		For(empty(deploymentKind)).
		Watches(empty(modelKind), handler.EnqueueRequestsFromMapFunc(r.followers)).
		WithOptions(options)
	for _, kind := range childKinds() {
		deployments = deployments.Watches(kind, handler.EnqueueRequestsFromMapFunc(ownerOf))
	}
	if err := deployments.Complete(r); err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(manager).Named("model").
		For(empty(modelKind)).WithOptions(options).Complete(&modelReconciler{r})
}

func empty(kind schema.GroupVersionKind) *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(kind)
	return object
}

func ownerOf(_ context.Context, child client.Object) []ctrl.Request {
	name := child.GetLabels()[owner]
	if name == "" {
		return nil
	}
	return []ctrl.Request{{NamespacedName: types.NamespacedName{Namespace: child.GetNamespace(), Name: name}}}
}

func (r *reconciler) followers(ctx context.Context, model client.Object) []ctrl.Request {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(deploymentKind.GroupVersion().WithKind("ModelDeploymentList"))
	err := r.List(ctx, list, client.InNamespace(model.GetNamespace()), client.MatchingFields{byModel: model.GetName()})
	if err != nil {
		return nil
	}
	var found []ctrl.Request
	for _, item := range list.Items {
		found = append(found, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(&item)})
	}
	return found
}

// Reconcile writes the status first and then brings the children about, as the operator does.
func (r *reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	deployment := empty(deploymentKind)
	if err := r.Get(ctx, request.NamespacedName, deployment); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	modelName, _, _ := unstructured.NestedString(deployment.Object, "spec", "model", "name")
	model := empty(modelKind)
	key := types.NamespacedName{Namespace: request.Namespace, Name: modelName}
	if err := r.Get(ctx, key, model); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	digest := verifiedDigest(model)
	if digest == "" {
		return ctrl.Result{}, nil // the Model's change wakes this one
	}
	sum := sha256.Sum256([]byte(digest + r.templates.Image))
	revision := hex.EncodeToString(sum[:])[:12]
	fill := strings.NewReplacer(
		"$(UID)", string(deployment.GetUID()), "$(NAMESPACE)", request.Namespace,
		"$(NAME)", request.Name, "$(MODEL)", modelName, "$(DIGEST)", digest, "$(REVISION)", revision,
	)
	replicas, _, _ := unstructured.NestedInt64(deployment.Object, "spec", "replicas")
	status, err := r.status(ctx, deployment, fill, request.Name+"-"+revision, replicas)
	if err != nil {
		return ctrl.Result{}, err
	}
	if err := writeStatus(ctx, r.Client, deployment, status); err != nil {
		return ctrl.Result{}, err
	}
	for _, template := range r.templates.Children {
		if err := r.child(ctx, fill.Replace(template.Manifest), replicas); err != nil {
			return ctrl.Result{}, err
		}
	}
	return ctrl.Result{}, nil
}

// status is the settled status of the template, with Ready as the pods are.
func (r *reconciler) status(
	ctx context.Context, deployment *unstructured.Unstructured, fill *strings.Replacer, workload string, replicas int64,
) (map[string]any, error) {
	live := &appsv1.Deployment{}
	key := types.NamespacedName{Namespace: deployment.GetNamespace(), Name: workload}
	if err := r.Get(ctx, key, live); client.IgnoreNotFound(err) != nil {
		return nil, err
	}
	ready := live.Status.ObservedGeneration >= live.Generation && live.Generation > 0 &&
		int64(live.Status.ReadyReplicas) >= replicas && int64(*live.Spec.Replicas) == replicas
	var status map[string]any
	if err := json.Unmarshal([]byte(fill.Replace(r.templates.Status)), &status); err != nil {
		return nil, err
	}
	status["replicas"] = int64(live.Status.Replicas)
	settle(status, deployment, ready)
	return status, nil
}

// settle stamps generation and conditions; a transition keeps the time at which it happened.
func settle(status map[string]any, object *unstructured.Unstructured, ready bool) {
	status["observedGeneration"] = object.GetGeneration()
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	before := map[string]map[string]any{}
	for _, one := range conditions {
		condition := one.(map[string]any)
		before[condition["type"].(string)] = condition
	}
	for _, one := range status["conditions"].([]any) {
		condition := one.(map[string]any)
		condition["observedGeneration"] = object.GetGeneration()
		switch condition["type"] {
		case "Ready", "Available":
			condition["status"] = word(ready)
		case "Reconciling":
			condition["status"] = word(!ready)
		}
		known := before[condition["type"].(string)]
		if known != nil && known["status"] == condition["status"] {
			condition["lastTransitionTime"] = known["lastTransitionTime"]
		}
	}
}

func word(value bool) string {
	if value {
		return "True"
	}
	return "False"
}

func verifiedDigest(model *unstructured.Unstructured) string {
	versions, _, _ := unstructured.NestedSlice(model.Object, "status", "versions")
	for _, one := range versions {
		version := one.(map[string]any)
		if version["phase"] == "Verified" {
			digest, _ := version["digest"].(string)
			return digest
		}
	}
	return ""
}

func writeStatus(ctx context.Context, c client.Client, object *unstructured.Unstructured, status map[string]any) error {
	if same(object.Object["status"], status) {
		return nil
	}
	changed := object.DeepCopy()
	changed.Object["status"] = status
	return c.Status().Patch(ctx, changed, client.MergeFrom(object), client.FieldOwner("mooring-status"))
}

func same(live any, wanted map[string]any) bool {
	one, err := json.Marshal(live)
	if err != nil {
		return false
	}
	other, err := json.Marshal(wanted)
	return err == nil && string(one) == string(other)
}

// child applies one child unless what lives carries it already.
func (r *reconciler) child(ctx context.Context, manifest string, replicas int64) error {
	wanted := &unstructured.Unstructured{}
	if err := wanted.UnmarshalJSON([]byte(manifest)); err != nil {
		return err
	}
	if wanted.GetKind() == "Deployment" {
		if err := unstructured.SetNestedField(wanted.Object, replicas, "spec", "replicas"); err != nil {
			return err
		}
	}
	sum := sha256.Sum256([]byte(manifest))
	annotations := wanted.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[intent] = hex.EncodeToString(sum[:])[:16]
	wanted.SetAnnotations(annotations)
	typed, err := r.scheme.New(wanted.GroupVersionKind())
	if err != nil {
		return err
	}
	live := typed.(client.Object)
	err = r.Get(ctx, client.ObjectKeyFromObject(wanted), live)
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	if err == nil && carries(wanted, live) {
		return nil
	}
	return r.Apply(ctx, client.ApplyConfigurationFromUnstructured(wanted),
		client.FieldOwner(fieldManager), client.ForceOwnership)
}

// carries says whether every field that we set has our value. What others or the API server filled
// in besides is theirs; empty values come back as absent ones.
func carries(wanted *unstructured.Unstructured, live client.Object) bool {
	have, err := runtime.DefaultUnstructuredConverter.ToUnstructured(live)
	if err != nil {
		return false
	}
	for field, value := range wanted.Object {
		// Typed objects of the cache carry no kind: it would differ each time.
		if field != "apiVersion" && field != "kind" && !within(value, have[field]) {
			return false
		}
	}
	return true
}

func within(wanted, have any) bool {
	switch want := wanted.(type) {
	case map[string]any:
		fields, ok := have.(map[string]any)
		if !ok {
			return have == nil && len(want) == 0
		}
		for name, value := range want {
			if !within(value, fields[name]) {
				return false
			}
		}
		return true
	case []any:
		items, ok := have.([]any)
		if !ok {
			return have == nil && len(want) == 0
		}
		if len(items) != len(want) {
			return false
		}
		for i, value := range want {
			if !within(value, items[i]) {
				return false
			}
		}
		return true
	case nil:
		return have == nil
	default:
		return have == wanted || have == nil && reflect.ValueOf(wanted).IsZero()
	}
}

type modelReconciler struct{ *reconciler }

// Reconcile of a Model writes its status; its versions are verified already.
func (r *modelReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	model := empty(modelKind)
	if err := r.Get(ctx, request.NamespacedName, model); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	versions, _, _ := unstructured.NestedSlice(model.Object, "spec", "versions")
	if len(versions) == 0 {
		return ctrl.Result{}, nil
	}
	digest, _ := versions[0].(map[string]any)["digest"].(string)
	fill := strings.NewReplacer(
		"$(MODEL_UID)", string(model.GetUID()), "$(NAMESPACE)", request.Namespace,
		"$(MODEL)", request.Name, "$(DIGEST)", digest,
	)
	var status map[string]any
	if err := json.Unmarshal([]byte(fill.Replace(r.templates.ModelStatus)), &status); err != nil {
		return ctrl.Result{}, err
	}
	settle(status, model, true)
	return ctrl.Result{}, writeStatus(ctx, r.Client, model, status)
}
