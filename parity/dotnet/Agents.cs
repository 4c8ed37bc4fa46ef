using System.Net.WebSockets;
using Azure.AI.AgentServer.Invocations;

namespace ReferenceAgent;

/// <summary>Overrides nothing but the invoke.</summary>
public sealed class HttpOnlyAgent : InvocationHandler
{
    private readonly Operations _operations = new();

    public override Task HandleAsync(
        HttpRequest request, HttpResponse response, InvocationContext context, CancellationToken cancellationToken)
        => _operations.RunAsync(request, response, context, cancellationToken);
}

/// <summary>Overrides nothing but the WebSocket.</summary>
public sealed class WebSocketOnlyAgent : InvocationWebSocketHandler
{
    public override Task HandleWebSocketAsync(
        WebSocket webSocket, InvocationContext context, CancellationToken cancellationToken)
        => Conversation.TalkAsync(webSocket, context, cancellationToken);
}

/// <summary>Overrides everything.</summary>
public sealed class FullAgent : InvocationWebSocketHandler
{
    private const string OpenApi =
        """{"openapi": "3.0.3", "info": {"title": "reference-agent", "version": "1.0.0"}, "paths": {}}""";

    private readonly Operations _operations = new();

    public override Task HandleAsync(
        HttpRequest request, HttpResponse response, InvocationContext context, CancellationToken cancellationToken)
        => _operations.RunAsync(request, response, context, cancellationToken);

    public override Task GetAsync(
        string invocationId, HttpRequest request, HttpResponse response,
        InvocationContext context, CancellationToken cancellationToken)
        => Started.AnswerAsync(response, invocationId, context.SessionId, cancel: false, cancellationToken);

    public override Task CancelAsync(
        string invocationId, HttpRequest request, HttpResponse response,
        InvocationContext context, CancellationToken cancellationToken)
        => Started.AnswerAsync(response, invocationId, context.SessionId, cancel: true, cancellationToken);

    public override Task GetOpenApiAsync(
        HttpRequest request, HttpResponse response, CancellationToken cancellationToken)
        => Answer.WriteAsync(response, 200, "application/json", OpenApi, cancellationToken);

    public override Task HandleWebSocketAsync(
        WebSocket webSocket, InvocationContext context, CancellationToken cancellationToken)
        => Conversation.TalkAsync(webSocket, context, cancellationToken);
}
