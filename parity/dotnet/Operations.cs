using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Azure.AI.AgentServer.Invocations;

namespace ReferenceAgent;

/// <summary>What <c>POST /invocations</c> can be asked to do. One object serves one handler object.</summary>
internal sealed class Operations
{
    private const string PlatformErrorKey = "Azure.AI.AgentServer.PlatformError";

    private int _calls;

    public async Task RunAsync(
        HttpRequest request, HttpResponse response, InvocationContext context, CancellationToken cancellationToken)
    {
        _calls++;
        using var buffer = new MemoryStream();
        await request.Body.CopyToAsync(buffer, cancellationToken);
        var body = buffer.ToArray();
        var message = Read(request, body);
        switch ((string?)message?["op"])
        {
            case "context":
                await Answer.WriteJsonAsync(response, 200, Answer.Describe(context), cancellationToken);
                break;
            case "text":
                SetHeaders(response, message!);
                await Answer.WriteAsync(
                    response, Status(message!), "text/plain; charset=utf-8", (string)message!["text"]!, cancellationToken);
                break;
            case "json":
                SetHeaders(response, message!);
                await Answer.WriteAsync(
                    response, Status(message!), "application/json", message!["body"]?.ToJsonString() ?? "null", cancellationToken);
                break;
            case "stream":
                await StreamAsync(response, context, message!, "chunks", "text/plain; charset=utf-8", "{0}", cancellationToken);
                break;
            case "sse":
                await StreamAsync(response, context, message!, "events", "text/event-stream", "data: {0}\n\n", cancellationToken);
                break;
            case "raise":
                throw Failure((string)message!["kind"]!, (string)message["message"]!, Status(message));
            case "raise_mid_stream":
                response.ContentType = "text/plain; charset=utf-8";
                await response.Body.WriteAsync("partial"u8.ToArray(), cancellationToken);
                await response.Body.FlushAsync(cancellationToken);
                throw new InvalidOperationException((string)message!["message"]!);
            case "sleep":
                await Task.Delay((int)message!["ms"]!, cancellationToken);
                await Answer.WriteJsonAsync(response, 200, new { slept = true }, cancellationToken);
                break;
            case "hold":
                await HoldAsync(context.InvocationId, (int)message!["ms"]!, cancellationToken);
                await Answer.WriteJsonAsync(response, 200, new { held = true }, cancellationToken);
                break;
            case "start":
                Started.Set(context.InvocationId, "running");
                response.Headers["Retry-After"] = "2";
                var running = new { invocation_id = context.InvocationId, status = "running" };
                await Answer.WriteJsonAsync(response, 202, running, cancellationToken);
                break;
            case "instance":
                await Answer.WriteJsonAsync(response, 200, new { instance_calls = _calls }, cancellationToken);
                break;
            default:
                response.ContentType = request.ContentType ?? "application/octet-stream";
                await response.Body.WriteAsync(body, cancellationToken);
                break;
        }
    }

    private static JsonObject? Read(HttpRequest request, byte[] body)
    {
        try
        {
            return JsonNode.Parse(body) as JsonObject;
        }
        catch (JsonException) when (request.ContentType == "application/vnd.parity+json")
        {
            throw new BadHttpRequestException("the body is no JSON");
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private static int Status(JsonObject message) => (int?)message["status"] ?? 200;

    private static void SetHeaders(HttpResponse response, JsonObject message)
    {
        foreach (var (name, value) in message["headers"] as JsonObject ?? new JsonObject())
        {
            response.Headers[name] = (string?)value;
        }
    }

    private static async Task StreamAsync(
        HttpResponse response, InvocationContext context, JsonObject message,
        string key, string contentType, string form, CancellationToken cancellationToken)
    {
        Started.Set(context.InvocationId, "running");
        response.ContentType = contentType;
        var first = true;
        try
        {
            foreach (var piece in message[key]!.AsArray())
            {
                await Task.Delay(first ? 0 : (int?)message["pause_ms"] ?? 0, cancellationToken);
                first = false;
                await response.Body.WriteAsync(Encoding.UTF8.GetBytes(string.Format(form, (string)piece!)), cancellationToken);
                await response.Body.FlushAsync(cancellationToken);
            }
        }
        catch (OperationCanceledException)
        {
            Started.Set(context.InvocationId, "cancelled");
            throw;
        }
    }

    private static async Task HoldAsync(string invocationId, int milliseconds, CancellationToken cancellationToken)
    {
        Started.Set(invocationId, "running");
        try
        {
            await Task.Delay(milliseconds, cancellationToken);
        }
        catch (OperationCanceledException)
        {
            Started.Set(invocationId, "cancelled");
            throw;
        }
    }

    private static Exception Failure(string kind, string message, int status)
    {
        switch (kind)
        {
            case "argument":
                return new ArgumentException(message);
            case "bad_request":
                return new BadHttpRequestException(message);
            case "http":
                return new BadHttpRequestException(message, status);
            case "platform":
                var failure = new InvalidOperationException(message);
                failure.Data[PlatformErrorKey] = true;
                return failure;
            default:
                return new InvalidOperationException(message);
        }
    }
}
